"""Free slots by lane: no slot is promised twice, and a response gets a slot if there is one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.dispatch.capacity import Capacity, Pool

LANES = ("default", "fast", "slow", "bulk")


def pools() -> st.SearchStrategy[list[Pool]]:
    lanes = st.frozensets(st.sampled_from(LANES), min_size=1)
    pool = st.builds(
        lambda lanes, idle, busy: Pool(lanes, idle + busy, idle), lanes, st.integers(0, 6), st.integers(0, 3)
    )
    return st.lists(pool, max_size=5, unique_by=lambda pool: pool.lanes)


def can_assign(pools: Iterable[Pool], requests: Mapping[str, int]) -> bool:
    """Hall's condition: no set of lanes requests more slots than are free on the workers that serve any of these lanes."""
    pools = list(pools)
    return all(
        sum(requests.get(lane, 0) for lane in lanes)
        <= sum(pool.idle_slots for pool in pools if pool.lanes & set(lanes))
        for size in range(1, len(LANES) + 1)
        for lanes in combinations(LANES, size)
    )


def lane_sequences() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LANES), max_size=40)


@settings(deadline=None)
@given(pools(), lane_sequences())
def test_a_lane_gets_a_slot_only_if_all_assignments_still_fit_the_workers(
    pools: list[Pool], lanes: Sequence[str]
) -> None:
    capacity, slots = Capacity(pools, {}), Counter[str]()
    for lane in lanes:
        has_slot = can_assign(pools, slots + Counter([lane]))

        assert capacity.has_slot(lane) == has_slot
        assert capacity.take_slot(lane) == has_slot
        slots[lane] += has_slot


@settings(deadline=None)
@given(pools(), lane_sequences(), st.sampled_from(LANES))
def test_free_slots_is_the_number_of_slots_that_a_lane_can_take(
    pools: list[Pool], dispatched_lanes: Sequence[str], lane: str
) -> None:
    capacity = Capacity(pools, Counter(dispatched_lanes))
    free_slots = capacity.free_slots(lane)

    slots = 0
    while capacity.take_slot(lane):
        slots += 1

    assert slots == free_slots
    assert capacity.free_slots(lane) == 0


@settings(deadline=None)
@given(pools(), lane_sequences())
def test_reading_the_free_slots_does_not_change_them(pools: list[Pool], dispatched_lanes: Sequence[str]) -> None:
    capacity = Capacity(pools, Counter(dispatched_lanes))
    free_slots = {lane: capacity.free_slots(lane) for lane in LANES}

    assert {lane: capacity.free_slots(lane) for lane in LANES} == free_slots
    assert capacity.open_lanes() == sorted(lane for lane, slots in free_slots.items() if slots > 0)


def test_an_excess_of_dispatched_responses_uses_no_slots_of_other_lanes() -> None:
    pools = [Pool(frozenset({"fast"}), 2, 2), Pool(frozenset({"slow"}), 3, 3)]

    assert Capacity(pools, {"fast": 100}).free_slots("slow") == 3


def test_a_slot_that_two_lanes_share_is_promised_only_once() -> None:
    capacity = Capacity([Pool(frozenset({"fast", "slow"}), 1, 1), Pool(frozenset({"slow"}), 1, 1)], {})

    assert [capacity.take_slot(lane) for lane in ("slow", "fast", "slow")] == [True, True, False]


def test_the_reserve_is_a_fraction_of_all_slots_of_a_lane_rounded_up() -> None:
    pools = [Pool(frozenset({"fast", "slow"}), 7, 0), Pool(frozenset({"slow"}), 4, 4)]

    assert Capacity(pools, {}).reserve_size("slow", 0.2) == 3
    assert Capacity(pools, {}).reserve_size("fast", 0.2) == 2

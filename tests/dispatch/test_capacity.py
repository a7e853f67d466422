"""Free slots by lane: promised slots always fit the workers, and nothing that fits is refused."""

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
        lambda lanes, free, busy: Pool(lanes, free + busy, free), lanes, st.integers(0, 6), st.integers(0, 3)
    )
    return st.lists(pool, max_size=5, unique_by=lambda pool: pool.lanes)


def fits(pools: Iterable[Pool], wanted: Mapping[str, int]) -> bool:
    """Hall's condition: no set of lanes wants more slots than are free on the workers that serve any of these lanes."""
    pools = list(pools)
    return all(
        sum(wanted.get(lane, 0) for lane in lanes) <= sum(pool.free for pool in pools if pool.lanes & set(lanes))
        for size in range(1, len(LANES) + 1)
        for lanes in combinations(LANES, size)
    )


def lanes_in_turn() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(LANES), max_size=40)


@settings(deadline=None)
@given(pools(), lanes_in_turn())
def test_a_slot_is_taken_exactly_when_all_that_was_taken_still_fits(pools: list[Pool], asked: Sequence[str]) -> None:
    capacity, taken = Capacity(pools, {}), Counter[str]()
    for lane in asked:
        expected = fits(pools, taken + Counter([lane]))

        assert capacity.has_slot(lane) == expected
        assert capacity.take(lane) == expected
        taken[lane] += expected


@settings(deadline=None)
@given(pools(), lanes_in_turn(), st.sampled_from(LANES))
def test_the_room_of_a_lane_is_how_often_a_slot_can_be_taken(
    pools: list[Pool], dispatched: Sequence[str], lane: str
) -> None:
    capacity = Capacity(pools, Counter(dispatched))
    room = capacity.free_slots(lane)

    taken = 0
    while capacity.take(lane):
        taken += 1

    assert taken == room
    assert capacity.free_slots(lane) == 0


@settings(deadline=None)
@given(pools(), lanes_in_turn())
def test_looking_for_room_changes_nothing(pools: list[Pool], dispatched: Sequence[str]) -> None:
    capacity = Capacity(pools, Counter(dispatched))
    before = {lane: capacity.free_slots(lane) for lane in LANES}

    assert {lane: capacity.free_slots(lane) for lane in LANES} == before
    assert capacity.open_lanes() == sorted(lane for lane, room in before.items() if room > 0)


def test_more_dispatched_than_a_lane_has_slots_takes_none_of_other_lanes() -> None:
    pools = [Pool(frozenset({"fast"}), 2, 2), Pool(frozenset({"slow"}), 3, 3)]

    assert Capacity(pools, {"fast": 100}).free_slots("slow") == 3


def test_a_slot_that_two_lanes_share_is_promised_once() -> None:
    capacity = Capacity([Pool(frozenset({"fast", "slow"}), 1, 1), Pool(frozenset({"slow"}), 1, 1)], {})

    assert [capacity.take(lane) for lane in ("slow", "fast", "slow")] == [True, True, False]


def test_the_reserve_is_a_part_of_all_slots_that_serve_a_lane_rounded_up() -> None:
    pools = [Pool(frozenset({"fast", "slow"}), 7, 0), Pool(frozenset({"slow"}), 4, 4)]

    assert Capacity(pools, {}).reserve("slow", 0.2) == 3
    assert Capacity(pools, {}).reserve("fast", 0.2) == 2

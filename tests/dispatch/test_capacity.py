"""Free slots by lane and model: no slot is promised twice, and a response gets a slot if there is one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from core.dispatch.capacity import Capacity, Pool

LANES = ("default", "fast", "slow")
MODELS = ("m1", "m2")
PAIRS = tuple(product(LANES, MODELS))

Pair = tuple[str, str]  # lane and model


def pools() -> st.SearchStrategy[list[Pool]]:
    lanes = st.frozensets(st.sampled_from(LANES), min_size=1)
    models = st.none() | st.frozensets(st.sampled_from(MODELS))
    pool = st.builds(
        lambda lanes, idle, busy, models: Pool(lanes, idle + busy, idle, models),
        lanes,
        st.integers(0, 6),
        st.integers(0, 3),
        models,
    )
    return st.lists(pool, max_size=5, unique_by=lambda pool: (pool.lanes, pool.models))


def can_assign(pools: Iterable[Pool], requests: Mapping[Pair, int]) -> bool:
    """Hall's condition: no set of pairs requests more slots than are free on the workers that can run any of them."""
    pools = list(pools)
    return all(
        sum(requests.get(pair, 0) for pair in pairs)
        <= sum(pool.idle_slots for pool in pools if any(pool.can_run(*pair) for pair in pairs))
        for size in range(1, len(PAIRS) + 1)
        for pairs in combinations(PAIRS, size)
    )


def pair_sequences() -> st.SearchStrategy[list[Pair]]:
    return st.lists(st.sampled_from(PAIRS), max_size=30)


@settings(deadline=None)
@given(pools(), pair_sequences())
def test_a_response_gets_a_slot_only_if_all_assignments_still_fit_the_workers(
    pools: list[Pool], pairs: Sequence[Pair]
) -> None:
    capacity, slots = Capacity(pools, {}), Counter[Pair]()
    for pair in pairs:
        has_slot = can_assign(pools, slots + Counter([pair]))

        assert capacity.has_slot(*pair) == has_slot
        assert capacity.take_slot(*pair) == has_slot
        slots[pair] += has_slot


@settings(deadline=None)
@given(pools(), pair_sequences(), st.sampled_from(PAIRS))
def test_free_slots_is_the_number_of_slots_that_a_lane_and_model_can_take(
    pools: list[Pool], dispatched_pairs: Sequence[Pair], pair: Pair
) -> None:
    capacity = Capacity(pools, Counter(dispatched_pairs))
    free_slots = capacity.free_slots(*pair)

    slots = 0
    while capacity.take_slot(*pair):
        slots += 1

    assert slots == free_slots
    assert capacity.free_slots(*pair) == 0


@settings(deadline=None)
@given(pools(), pair_sequences())
def test_reading_the_free_slots_does_not_change_them(pools: list[Pool], dispatched_pairs: Sequence[Pair]) -> None:
    capacity = Capacity(pools, Counter(dispatched_pairs))
    free_slots = {pair: capacity.free_slots(*pair) for pair in PAIRS}

    assert {pair: capacity.free_slots(*pair) for pair in PAIRS} == free_slots


@settings(deadline=None)
@given(pools(), pair_sequences())
def test_every_lane_with_a_slot_for_any_model_is_open(pools: list[Pool], dispatched_pairs: Sequence[Pair]) -> None:
    capacity = Capacity(pools, Counter(dispatched_pairs))

    assert set(capacity.open_lanes()) >= {lane for lane, model in PAIRS if capacity.has_slot(lane, model)}


def test_a_lane_without_free_slots_is_not_open() -> None:
    pools = [Pool(frozenset({"fast"}), 2, 1), Pool(frozenset({"slow"}), 3, 0)]

    assert Capacity(pools, {}).open_lanes() == ["fast"]
    assert Capacity(pools, {("fast", "m1"): 1}).open_lanes() == []


def test_a_model_has_only_the_slots_of_workers_that_know_it() -> None:
    old_worker = Pool(frozenset({"fast"}), 10, 10, frozenset({"m1"}))
    new_worker = Pool(frozenset({"fast"}), 4, 4, frozenset({"m1", "m2"}))
    capacity = Capacity([old_worker, new_worker], {("fast", "m2"): 1})

    assert (capacity.free_slots("fast", "m1"), capacity.free_slots("fast", "m2")) == (13, 3)
    assert not capacity.has_slot("fast", "m3")


def test_an_excess_of_dispatched_responses_uses_no_slots_of_other_lanes() -> None:
    pools = [Pool(frozenset({"fast"}), 2, 2), Pool(frozenset({"slow"}), 3, 3)]

    assert Capacity(pools, {("fast", "m1"): 100}).free_slots("slow", "m1") == 3


def test_a_slot_that_two_lanes_share_is_promised_only_once() -> None:
    capacity = Capacity([Pool(frozenset({"fast", "slow"}), 1, 1), Pool(frozenset({"slow"}), 1, 1)], {})

    assert [capacity.take_slot(lane, "m1") for lane in ("slow", "fast", "slow")] == [True, True, False]


def test_the_reserve_is_a_fraction_of_all_slots_of_a_lane_rounded_up() -> None:
    pools = [Pool(frozenset({"fast", "slow"}), 7, 0), Pool(frozenset({"slow"}), 4, 4)]

    assert Capacity(pools, {}).reserve_size("slow", 0.2) == 3
    assert Capacity(pools, {}).reserve_size("fast", 0.2) == 2

"""The free slots of each lane and model: no slot is assigned twice, and a response gets a slot whenever one remains."""

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
        lambda lanes, idle, busy, models: Pool(lanes, slots=idle + busy, idle_slots=idle, models=models),
        lanes,
        st.integers(0, 6),
        st.integers(0, 3),
        models,
    )
    return st.lists(pool, max_size=5, unique_by=lambda pool: (pool.lanes, pool.models))


def can_assign(pools: Iterable[Pool], requests: Mapping[Pair, int]) -> bool:
    """Whether the pools can serve these requests, by Hall's condition.

    No set of pairs may request more slots than are free on the workers that can run any pair of the set.
    """
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
def test_a_response_gets_a_slot_exactly_if_the_workers_can_serve_all_assignments(
    pools: list[Pool], requested_pairs: Sequence[Pair]
) -> None:
    capacity, assigned_slots = Capacity(pools, {}), Counter[Pair]()
    for pair in requested_pairs:
        is_possible = can_assign(pools, assigned_slots + Counter([pair]))

        assert capacity.has_slot(*pair) == is_possible
        assert capacity.take_slot(*pair) == is_possible
        if is_possible:
            assigned_slots[pair] += 1


@settings(deadline=None)
@given(pools(), pair_sequences(), st.sampled_from(PAIRS))
def test_free_slots_is_the_number_of_slots_that_a_lane_and_model_can_take(
    pools: list[Pool], dispatched_pairs: Sequence[Pair], pair: Pair
) -> None:
    capacity = Capacity(pools, Counter(dispatched_pairs))
    free_slots = capacity.free_slots(*pair)

    taken_slots = 0
    while capacity.take_slot(*pair):
        taken_slots += 1

    assert taken_slots == free_slots
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
    pools = [
        Pool(frozenset({"fast"}), slots=2, idle_slots=1),
        Pool(frozenset({"slow"}), slots=3, idle_slots=0),
    ]

    assert Capacity(pools, {}).open_lanes() == ["fast"]
    assert Capacity(pools, {("fast", "m1"): 1}).open_lanes() == []


def test_a_model_has_only_the_slots_of_workers_that_know_it() -> None:
    old_worker = Pool(frozenset({"fast"}), slots=10, idle_slots=10, models=frozenset({"m1"}))
    new_worker = Pool(frozenset({"fast"}), slots=4, idle_slots=4, models=frozenset({"m1", "m2"}))
    capacity = Capacity([old_worker, new_worker], {("fast", "m2"): 1})

    assert (capacity.free_slots("fast", "m1"), capacity.free_slots("fast", "m2")) == (13, 3)
    assert not capacity.has_slot("fast", "m3")


def test_an_excess_of_dispatched_responses_uses_no_slots_of_other_lanes() -> None:
    pools = [
        Pool(frozenset({"fast"}), slots=2, idle_slots=2),
        Pool(frozenset({"slow"}), slots=3, idle_slots=3),
    ]

    assert Capacity(pools, {("fast", "m1"): 100}).free_slots("slow", "m1") == 3


def test_a_slot_that_two_lanes_share_is_assigned_only_once() -> None:
    pools = [
        Pool(frozenset({"fast", "slow"}), slots=1, idle_slots=1),
        Pool(frozenset({"slow"}), slots=1, idle_slots=1),
    ]
    capacity = Capacity(pools, {})

    assert [capacity.take_slot(lane, "m1") for lane in ("slow", "fast", "slow")] == [True, True, False]


def test_the_reserve_is_a_fraction_of_all_slots_of_a_lane_rounded_up() -> None:
    pools = [
        Pool(frozenset({"fast", "slow"}), slots=7, idle_slots=0),
        Pool(frozenset({"slow"}), slots=4, idle_slots=4),
    ]

    assert Capacity(pools, {}).reserve_size("slow", 0.2) == 3
    assert Capacity(pools, {}).reserve_size("fast", 0.2) == 2

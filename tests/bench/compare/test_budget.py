"""The selection of measures that fit into a given time."""

from hypothesis import given
from hypothesis import strategies as st

from bench.compare.budget import Budget, affordable, first_that_fit
from tests.harness.waiting import until

COSTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 300).map(float), max_size=12)
SECONDS = st.integers(0, 3000).map(float)


@given(COSTS, st.integers(1, 5), SECONDS)
def test_what_is_kept_fits_and_what_is_dropped_costs_at_least_as_much(
    costs: dict[str, float], rounds: int, seconds: float
) -> None:
    kept = affordable(costs, rounds, seconds)

    assert rounds * sum(costs[name] for name in kept) <= seconds
    dropped = [name for name in costs if name not in kept]
    assert all(costs[name] >= costs[other] for name in dropped for other in kept)
    if dropped:  # no more than necessary: the cheapest dropped one does not fit
        cheapest = min(costs[name] for name in dropped)
        assert rounds * (cheapest + sum(costs[name] for name in kept)) > seconds


@given(COSTS)
def test_the_order_of_measures_stays(costs: dict[str, float]) -> None:
    kept = affordable(costs, 4, sum(costs.values()))

    assert kept == [name for name in costs if name in kept]


@given(COSTS, SECONDS, st.randoms())
def test_what_matters_more_is_chosen_first(costs: dict[str, float], seconds: float, random: st.DataObject) -> None:
    order = list(costs)
    random.shuffle(order)  # type: ignore[attr-defined]

    chosen = first_that_fit(costs, order, seconds)

    assert sum(costs[name] for name in chosen) <= seconds
    for place, name in enumerate(order):
        before = sum(costs[other] for other in order[:place] if other in chosen)
        assert (name in chosen) == (costs[name] <= seconds - before)


def test_a_budget_is_spent_and_then_stays_empty() -> None:
    budget = Budget(0.05)

    until(lambda: budget.left == 0)
    assert budget.spent >= 0.05
    assert budget.left == 0

"""The time budget of a comparison, and the selection of measures that fit into it."""

from hypothesis import given
from hypothesis import strategies as st

from bench.compare.budget import Budget, select_affordable, select_in_order
from tests.harness.waiting import until

COSTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 300).map(float), max_size=12)
SECONDS = st.integers(0, 3000).map(float)


@given(COSTS, st.integers(1, 5), SECONDS)
def test_selected_measures_fit_and_dropped_measures_cost_at_least_as_much(
    costs: dict[str, float], rounds: int, seconds: float
) -> None:
    selected = select_affordable(costs, rounds, seconds)

    assert rounds * sum(costs[name] for name in selected) <= seconds
    dropped = [name for name in costs if name not in selected]
    assert all(costs[name] >= costs[selected_name] for name in dropped for selected_name in selected)
    if dropped:  # even the cheapest dropped measure does not fit
        lowest_cost = min(costs[name] for name in dropped)
        assert rounds * (lowest_cost + sum(costs[name] for name in selected)) > seconds


@given(COSTS)
def test_the_selection_does_not_change_the_order_of_measures(costs: dict[str, float]) -> None:
    selected = select_affordable(costs, 4, sum(costs.values()))

    assert selected == [name for name in costs if name in selected]


@given(COSTS, SECONDS, st.randoms())
def test_more_important_measures_are_selected_first(
    costs: dict[str, float], seconds: float, random: st.DataObject
) -> None:
    order = list(costs)
    random.shuffle(order)  # type: ignore[attr-defined]

    selected = select_in_order(costs, order, seconds)

    assert sum(costs[name] for name in selected) <= seconds
    for index, name in enumerate(order):
        used = sum(costs[previous] for previous in order[:index] if previous in selected)
        assert (name in selected) == (costs[name] <= seconds - used)


def test_an_exhausted_budget_has_no_time_remaining() -> None:
    budget = Budget(0.05)

    until(lambda: budget.remaining_s == 0)
    assert budget.elapsed_s >= 0.05
    assert budget.remaining_s == 0

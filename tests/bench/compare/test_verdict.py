"""When figures count as worse: properties and edge cases of the rule."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.verdict import FACTOR, Samples

# Whole numbers, so that no property fails because of rounding.
FIGURES = st.lists(st.integers(1, 10_000).map(float), min_size=1, max_size=10).map(tuple)
SAMPLES = st.builds(Samples, FIGURES, FIGURES, st.booleans())


@given(SAMPLES)
def test_worse_means_that_every_figure_is_worse_and_the_median_by_more_than_the_factor(samples: Samples) -> None:
    base, head = samples.base, samples.head
    apart = max(head) < min(base) if samples.higher_is_better else min(head) > max(base)

    assert samples.worse == (apart and samples.times_worse > FACTOR)


@given(SAMPLES)
def test_no_row_is_both_worse_and_better(samples: Samples) -> None:
    assert not (samples.worse and samples.better)


@given(FIGURES, st.booleans())
def test_a_tree_is_not_worse_than_itself(figures: tuple[float, ...], higher_is_better: bool) -> None:
    same = Samples(figures, tuple(reversed(figures)), higher_is_better)

    assert (same.worse, same.better, same.times_worse, same.ratio) == (False, False, 1, 1)


@given(SAMPLES, st.integers(1, 100))
def test_what_is_worse_stays_worse_where_head_gets_worse_still(samples: Samples, times: int) -> None:
    head = tuple(value / times if samples.higher_is_better else value * times for value in samples.head)

    assert Samples(samples.base, head, samples.higher_is_better).worse or not samples.worse


@given(SAMPLES, st.sampled_from([2.0**-10, 0.5, 2.0, 2.0**10]))
def test_the_unit_does_not_matter(samples: Samples, scale: float) -> None:
    base, head = (tuple(scale * value for value in figures) for figures in (samples.base, samples.head))

    assert Samples(base, head, samples.higher_is_better).worse == samples.worse


@pytest.mark.parametrize(
    ("base", "head", "higher_is_better", "worse"),
    [
        ((100, 101, 102), (89, 90, 91), True, True),
        ((100, 101, 102), (93, 94, 95), True, False),  # disjoint, but by less than the factor
        ((100, 101, 102), (50, 60, 100), True, False),  # much worse, but one round was as good
        ((100, 101, 102), (89, 90, 91), False, False),  # better
        ((2.4, 2.5, 2.6), (5.4, 5.5, 5.6), False, True),
        ((0, 0, 0), (0, 0, 0), False, False),
        ((0, 0, 0), (1, 1, 2), False, True),  # base had none
        ((1, 1, 1), (0, 0, 0), True, True),  # head has none
        ((-3, -2, -1), (4, 5, 6), False, True),
    ],
)
def test_examples(base: tuple[float, ...], head: tuple[float, ...], higher_is_better: bool, worse: bool) -> None:
    assert Samples(base, head, higher_is_better).worse is worse


def test_without_a_positive_median_there_is_no_ratio() -> None:
    assert Samples((0.0,), (1.0,), higher_is_better=False).times_worse == inf
    assert Samples((0.0,), (1.0,), higher_is_better=True).times_worse == 0
    assert Samples((0.0,), (1.0,), higher_is_better=True).ratio is None

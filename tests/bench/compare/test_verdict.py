"""The rule that decides whether figures are worse: properties and edge cases."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.verdict import MIN_FACTOR, Samples

# Whole numbers, so that no property fails because of rounding.
FIGURES = st.lists(st.integers(1, 10_000).map(float), min_size=1, max_size=10).map(tuple)
SAMPLES = st.builds(Samples, FIGURES, FIGURES, st.booleans())


@given(SAMPLES)
def test_worse_means_disjoint_ranges_and_a_median_worse_by_the_factor(samples: Samples) -> None:
    base, head = samples.base, samples.head
    is_disjoint = max(head) < min(base) if samples.higher_is_better else min(head) > max(base)

    assert samples.is_worse == (is_disjoint and samples.worsening_factor > MIN_FACTOR)


@given(SAMPLES)
def test_no_row_is_worse_and_better(samples: Samples) -> None:
    assert not (samples.is_worse and samples.is_better)


@given(FIGURES, st.booleans())
def test_a_tree_is_not_worse_than_itself(figures: tuple[float, ...], higher_is_better: bool) -> None:
    samples = Samples(figures, tuple(reversed(figures)), higher_is_better)

    assert (samples.is_worse, samples.is_better, samples.worsening_factor, samples.ratio) == (False, False, 1, 1)


@given(SAMPLES, st.integers(1, 100))
def test_a_worse_row_remains_worse_if_the_figures_of_head_get_worse(samples: Samples, factor: int) -> None:
    head = tuple(value / factor if samples.higher_is_better else value * factor for value in samples.head)

    assert Samples(samples.base, head, samples.higher_is_better).is_worse or not samples.is_worse


@given(SAMPLES, st.sampled_from([2.0**-10, 0.5, 2.0, 2.0**10]))
def test_the_verdict_does_not_depend_on_the_unit(samples: Samples, scale: float) -> None:
    base, head = (tuple(scale * value for value in figures) for figures in (samples.base, samples.head))

    assert Samples(base, head, samples.higher_is_better).is_worse == samples.is_worse


@pytest.mark.parametrize(
    ("base", "head", "higher_is_better", "is_worse"),
    [
        ((100, 101, 102), (89, 90, 91), True, True),
        ((100, 101, 102), (93, 94, 95), True, False),  # disjoint, but by less than the factor
        ((100, 101, 102), (50, 60, 100), True, False),  # much worse, but the ranges overlap
        ((100, 101, 102), (89, 90, 91), False, False),  # better
        ((2.4, 2.5, 2.6), (5.4, 5.5, 5.6), False, True),
        ((0, 0, 0), (0, 0, 0), False, False),
        ((0, 0, 0), (1, 1, 2), False, True),  # base is zero
        ((1, 1, 1), (0, 0, 0), True, True),  # head is zero
        ((-3, -2, -1), (4, 5, 6), False, True),
    ],
)
def test_examples_have_the_expected_verdict(
    base: tuple[float, ...], head: tuple[float, ...], higher_is_better: bool, is_worse: bool
) -> None:
    assert Samples(base, head, higher_is_better).is_worse is is_worse


def test_without_a_positive_median_the_factor_is_infinite_or_zero() -> None:
    assert Samples((0.0,), (1.0,), higher_is_better=False).worsening_factor == inf
    assert Samples((0.0,), (1.0,), higher_is_better=True).worsening_factor == 0
    assert Samples((0.0,), (1.0,), higher_is_better=True).ratio is None

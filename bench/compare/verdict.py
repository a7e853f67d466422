"""Decides whether the figures of HEAD are worse than those of BASE."""

from dataclasses import dataclass
from math import inf
from statistics import median

# Medians that differ by a smaller factor are not considered different.
MIN_FACTOR = 1.1


@dataclass(frozen=True)
class Samples:
    """The figures of one benchmark row in both worktrees, one per round; neither tuple is empty."""

    base: tuple[float, ...]
    head: tuple[float, ...]
    higher_is_better: bool

    @property
    def is_worse(self) -> bool:
        """Whether the median of HEAD is worse by more than `MIN_FACTOR` and the ranges do not overlap."""
        return self.worsening_factor > MIN_FACTOR and not self.ranges_overlap

    @property
    def is_better(self) -> bool:
        """Whether the median of HEAD is better by more than `MIN_FACTOR` and the ranges do not overlap."""
        return Samples(self.head, self.base, self.higher_is_better).is_worse

    @property
    def worsening_factor(self) -> float:
        """Factor by which the median of HEAD is worse than the median of BASE; below 1 if HEAD is better.

        If a median is not positive, the factor is infinity if HEAD is worse and 0 if HEAD is better.
        """
        base, head = median(self.base), median(self.head)
        if base == head:
            return 1
        if base <= 0 or head <= 0:
            return inf if (head < base) == self.higher_is_better else 0
        return base / head if self.higher_is_better else head / base

    @property
    def ratio(self) -> float | None:
        """The median of HEAD divided by the median of BASE; None if the median of BASE is 0."""
        base = median(self.base)
        return median(self.head) / base if base else None

    @property
    def ranges_overlap(self) -> bool:
        """Whether the range of BASE and the range of HEAD have a common value."""
        return max(min(self.base), min(self.head)) <= min(max(self.base), max(self.head))

"""Decides whether one set of figures is worse than another."""

from dataclasses import dataclass
from math import inf
from statistics import median

# The median must be worse by more than this factor.
FACTOR = 1.1


@dataclass(frozen=True)
class Samples:
    """The figures of one row in both trees, one per round; neither tuple is empty."""

    base: tuple[float, ...]
    head: tuple[float, ...]
    higher_is_better: bool

    @property
    def worse(self) -> bool:
        """Whether the median of HEAD is worse by more than `FACTOR` and the ranges do not overlap."""
        return self.times_worse > FACTOR and not self.overlap

    @property
    def better(self) -> bool:
        """Whether BASE is worse than HEAD by the same criterion."""
        return Samples(self.head, self.base, self.higher_is_better).worse

    @property
    def times_worse(self) -> float:
        """Factor by which the median of HEAD is worse than that of BASE: 1 if they are equal, below 1 if it is better.

        If a median is not positive, there is no ratio: infinity if HEAD is worse, 0 if it is better.
        """
        base, head = median(self.base), median(self.head)
        if base == head:
            return 1
        if base <= 0 or head <= 0:
            return inf if (head < base) == self.higher_is_better else 0
        return base / head if self.higher_is_better else head / base

    @property
    def ratio(self) -> float | None:
        """The median of HEAD divided by that of BASE; None if the latter is 0."""
        base = median(self.base)
        return median(self.head) / base if base else None

    @property
    def overlap(self) -> bool:
        """Whether the ranges have a value in common."""
        return max(min(self.base), min(self.head)) <= min(max(self.base), max(self.head))

"""Whether one set of figures is worse than another."""

from dataclasses import dataclass
from math import inf
from statistics import median

# A median must be more than so many times worse.
FACTOR = 1.1


@dataclass(frozen=True)
class Samples:
    """Figures of one row in both trees, one of each per round. Neither is empty."""

    base: tuple[float, ...]
    head: tuple[float, ...]
    higher_is_better: bool

    @property
    def worse(self) -> bool:
        """Whether HEAD's median is more than `FACTOR` times worse, and its range does not overlap BASE's."""
        return self.times_worse > FACTOR and not self.overlap

    @property
    def better(self) -> bool:
        """Whether BASE would be worse, were it HEAD."""
        return Samples(self.head, self.base, self.higher_is_better).worse

    @property
    def times_worse(self) -> float:
        """How many times HEAD's median is worse than BASE's: 1 where they are equal, below 1 where it is better.

        Where a median is not positive there is no ratio: infinity where HEAD's is worse, 0 where it is better.
        """
        base, head = median(self.base), median(self.head)
        if base == head:
            return 1
        if base <= 0 or head <= 0:
            return inf if (head < base) == self.higher_is_better else 0
        return base / head if self.higher_is_better else head / base

    @property
    def ratio(self) -> float | None:
        """HEAD's median over BASE's; None where BASE's is 0."""
        base = median(self.base)
        return median(self.head) / base if base else None

    @property
    def overlap(self) -> bool:
        """Whether the ranges have a value in common."""
        return max(min(self.base), min(self.head)) <= min(max(self.base), max(self.head))

"""Whether a series grows: a straight line through it by least squares, and how sure its slope is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

# A rise counts only if it is so many times what the points' scatter alone may pass for.
SURE = 3


@dataclass(frozen=True)
class Trend:
    """A line through points.

    Args:
        slope: of the line.
        error: the standard error of the slope.
    """

    slope: float
    error: float

    def grows(self, tolerance: float) -> bool:
        """Whether it rises by more than is tolerated, and by more than scatter explains."""
        return self.slope > tolerance and self.slope > SURE * self.error


def through(at: Sequence[float], values: Sequence[float]) -> Trend:
    """The line that fits best; level where there are fewer than three points."""
    count = len(at)
    if count < 3:
        return Trend(0, 0)
    middle, mean = sum(at) / count, sum(values) / count
    spread = sum((x - middle) ** 2 for x in at)
    slope = sum((x - middle) * (y - mean) for x, y in zip(at, values, strict=True)) / spread
    left = sum((y - mean - slope * (x - middle)) ** 2 for x, y in zip(at, values, strict=True))
    return Trend(slope, sqrt(left / (count - 2) / spread))

"""Tests a series for growth with a least-squares line and the standard error of its slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

# An increase counts only if the slope is this many times its standard error.
SURE = 3


@dataclass(frozen=True)
class Trend:
    """A line fitted to points.

    Args:
        slope: slope of the line.
        error: standard error of the slope.
    """

    slope: float
    error: float

    def grows(self, tolerance: float) -> bool:
        """Whether the slope exceeds both the tolerance and the scatter of the points."""
        return self.slope > tolerance and self.slope > SURE * self.error


def through(at: Sequence[float], values: Sequence[float]) -> Trend:
    """The least-squares line through the points; horizontal if there are fewer than three points."""
    count = len(at)
    if count < 3:
        return Trend(0, 0)
    middle, mean = sum(at) / count, sum(values) / count
    spread = sum((x - middle) ** 2 for x in at)
    slope = sum((x - middle) * (y - mean) for x, y in zip(at, values, strict=True)) / spread
    left = sum((y - mean - slope * (x - middle)) ** 2 for x, y in zip(at, values, strict=True))
    return Trend(slope, sqrt(left / (count - 2) / spread))

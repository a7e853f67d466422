"""Tests a series for growth with a least-squares line and the standard error of its slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

# An increase is significant if the slope is more than this many times its standard error.
SIGNIFICANCE = 3


@dataclass(frozen=True)
class Trend:
    """A line fitted to points.

    Args:
        slope: slope of the line.
        error: standard error of the slope.
    """

    slope: float
    error: float

    def is_growth(self, tolerance: float) -> bool:
        """Whether the slope exceeds the tolerance and is significant given the scatter of the points."""
        return self.slope > tolerance and self.slope > SIGNIFICANCE * self.error


def fit_line(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a least-squares line to the points; with fewer than three points, it is horizontal."""
    count = len(times)
    if count < 3:
        return Trend(0, 0)
    mean_time, mean_value = sum(times) / count, sum(values) / count
    time_spread = sum((x - mean_time) ** 2 for x in times)
    slope = sum((x - mean_time) * (y - mean_value) for x, y in zip(times, values, strict=True)) / time_spread
    squared_residuals = sum((y - mean_value - slope * (x - mean_time)) ** 2 for x, y in zip(times, values, strict=True))
    return Trend(slope, sqrt(squared_residuals / (count - 2) / time_spread))

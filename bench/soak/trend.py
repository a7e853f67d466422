"""Tests a series of values for growth, with a least-squares line and the standard error of its slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

# The slope of a growing series is larger than this multiple of its standard error.
MIN_SLOPE_TO_ERROR = 3


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
        """Whether the slope exceeds the tolerance and is too large to result from the scatter of the points."""
        return self.slope > tolerance and self.slope > MIN_SLOPE_TO_ERROR * self.error


def fit_line(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a least-squares line to the points; with fewer than three points, it is horizontal."""
    count = len(times)
    if count < 3:
        return Trend(0, 0)
    mean_time, mean_value = sum(times) / count, sum(values) / count
    time_spread = sum((time - mean_time) ** 2 for time in times)
    points = list(zip(times, values, strict=True))
    slope = sum((time - mean_time) * (value - mean_value) for time, value in points) / time_spread
    residuals = [value - mean_value - slope * (time - mean_time) for time, value in points]
    squared_residuals = sum(residual**2 for residual in residuals)
    return Trend(slope, sqrt(squared_residuals / (count - 2) / time_spread))

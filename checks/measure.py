"""The rows of the table of measures; each row has a value, a goal and the places that contribute to the value."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A line of a file that contributes to a measure; `note` describes the finding, and a higher `weight` is worse."""

    path: str
    line: int
    note: str
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.note}"


@dataclass(frozen=True)
class Measure:
    """A row of the table; smaller values are better.

    `value` is None if the tree does not contain the measured code. A value that does not exceed `goal` needs no further
    improvement. Measures with `is_limited=False` appear in the table, but have no limit.
    """

    key: str
    title: str
    value: int | None
    goal: int | None = None
    places: tuple[Place, ...] = ()
    is_limited: bool = True

    def meets_goal(self) -> bool:
        """Whether there is a value, and it does not exceed the goal."""
        return self.value is not None and self.goal is not None and self.value <= self.goal


def count_places(key: str, title: str, goal: int | None, places: Sequence[Place]) -> Measure:
    """Create a measure whose value is the number of places."""
    return Measure(key, title, len(places), goal, tuple(places))


def compute_quantile(sizes: Sequence[int], share: float) -> int:
    """Return the quantile of a non-empty sequence without interpolation; `share` is between 0 and 1."""
    index = int(share * len(sizes))
    return sorted(sizes)[min(index, len(sizes) - 1)]


def measure_sizes(key: str, title: str, goals: tuple[int, int, int], places: Sequence[Place]) -> list[Measure]:
    """Create measures of the median, the 90th percentile and the maximum of the weights of places, with these goals."""
    sizes = [place.weight for place in places]
    values = [compute_quantile(sizes, share) if sizes else None for share in (0.5, 0.9, 1.0)]
    return [
        Measure(f"{key}_{name}", f"{title}, {name}", value, goal, tuple(places))
        for name, value, goal in zip(("median", "p90", "max"), values, goals, strict=True)
    ]

"""The rows of the table of measures: a value, a goal and the places that contribute to the value."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A line of a file; a higher `weight` is worse, and `note` describes the finding."""

    path: str
    line: int
    note: str
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.note}"


@dataclass(frozen=True)
class Measure:
    """A row of the table; smaller values are better.

    `value` is None if the tree does not contain the measured code. A value that does not exceed `goal` is good enough.
    Measures that are not `limited` only appear in the table.
    """

    key: str
    title: str
    value: int | None
    goal: int | None = None
    places: tuple[Place, ...] = ()
    limited: bool = True

    def meets_goal(self) -> bool:
        """Whether the value is known and no worse than the goal."""
        return self.value is not None and self.goal is not None and self.value <= self.goal


def count_places(key: str, title: str, goal: int | None, places: Sequence[Place]) -> Measure:
    """A measure whose value is the number of places."""
    return Measure(key, title, len(places), goal, tuple(places))


def find_quantile(sizes: Sequence[int], share: float) -> int:
    """The nearest-rank quantile of a non-empty sequence; `share` is between 0 and 1."""
    return sorted(sizes)[min(len(sizes) - 1, int(share * len(sizes)))]


def measure_sizes(key: str, title: str, goals: tuple[int, int, int], places: Sequence[Place]) -> list[Measure]:
    """Three measures, with the given goals: median, 90th percentile and maximum of the weights of `places`."""
    sizes = [place.weight for place in places]
    values = [find_quantile(sizes, share) if sizes else None for share in (0.5, 0.9, 1.0)]
    return [
        Measure(f"{key}_{name}", f"{title}, {name}", value, goal, tuple(places))
        for name, value, goal in zip(("median", "p90", "max"), values, goals, strict=True)
    ]

"""What a row of the table of measures consists of: a value, a goal and the places that the value counts."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A line of a file; `weight` orders places from bad to worse, `note` says what is there."""

    path: str
    line: int
    note: str
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.note}"


@dataclass(frozen=True)
class Measure:
    """A row: smaller values are better.

    `value` is None where the tree does not have what is measured. `goal` is the value from which on the code is good
    enough. Measures that have no limit are shown in the table only.
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
    """The measure whose value is the number of places."""
    return Measure(key, title, len(places), goal, tuple(places))


def find_quantile(sizes: Sequence[int], share: float) -> int:
    """The nearest-rank quantile of at least one size; `share` is between 0 and 1."""
    return sorted(sizes)[min(len(sizes) - 1, int(share * len(sizes)))]


def measure_sizes(key: str, title: str, goals: tuple[int, int, int], places: Sequence[Place]) -> list[Measure]:
    """Median, 90th percentile and maximum of the weights of `places`, as three measures with these goals."""
    sizes = [place.weight for place in places]
    values = [find_quantile(sizes, share) if sizes else None for share in (0.5, 0.9, 1.0)]
    return [
        Measure(f"{key}_{name}", f"{title}, {name}", value, goal, tuple(places))
        for name, value, goal in zip(("median", "p90", "max"), values, goals, strict=True)
    ]

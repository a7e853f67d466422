"""Reads and writes the limits of the measures, and compares values with them."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping

from checks.measure import Measure
from checks.repository import Repository

FILE = "checks/limits.toml"
_HEADER = """\
# Limits of `make measures`, one per measure. `make check` fails if a value exceeds both its limit and its goal.
# Limits are only ever lowered: `make measures LOWER=1`. `python -m checks.measures --write` sets all limits to the
# values of the work tree.
"""
_SHOWN_PLACES = 10

Limits = Mapping[str, int]


def parse_limits(text: str) -> Limits:
    """The limits by the key of the measure."""
    return {key: int(value) for key, value in tomllib.loads(text).items()}


def read_limits(repository: Repository) -> Limits:
    """The limits of the work tree; empty if the file is missing."""
    path = repository.root / FILE
    return parse_limits(path.read_text()) if path.exists() else {}


def write_limits(repository: Repository, limits: Limits) -> None:
    """Write the limits to the file."""
    lines = [f"{key} = {limit}\n" for key, limit in limits.items()]
    (repository.root / FILE).write_text(_HEADER + "\n" + "".join(lines))


def set_limits(measures: Iterable[Measure]) -> Limits:
    """The current values as limits."""
    return {one.key: one.value for one in measures if one.limited and one.value is not None}


def lower_limits(measures: Iterable[Measure], limits: Limits) -> Limits:
    """The limits, lowered to the current values where these are lower."""
    values = set_limits(measures)
    return {key: min(limit, values.get(key, limit)) for key, limit in limits.items()}


def find_lowerable(measures: Iterable[Measure], limits: Limits) -> list[Measure]:
    """Measures whose values are below their limits."""
    return [one for one in measures if one.value is not None and one.value < limits.get(one.key, one.value)]


def find_exceeded(measures: Iterable[Measure], limits: Limits) -> list[Measure]:
    """Measures whose values are above both their limits and their goals."""
    return [
        one
        for one in measures
        if one.value is not None and one.value > limits.get(one.key, one.value) and not one.meets_goal()
    ]


def describe_exceeded(one: Measure, limit: int, of_base: Iterable[Measure]) -> str:
    """A message that lists places: first those that are new since the base commit, then the worst ones.

    Places are compared by file and note, because line numbers change. If a file has more equal places than at the base
    commit, all of them count as new.
    """
    before = Counter((place.path, place.note) for base in of_base if base.key == one.key for place in base.places)
    added = Counter((place.path, place.note) for place in one.places) - before
    ordered = sorted(
        one.places, key=lambda place: ((place.path, place.note) not in added, -place.weight, place.path, place.line)
    )
    shown = [f"  {place}" for place in ordered[:_SHOWN_PLACES]]
    more = [f"  ... and {len(ordered) - _SHOWN_PLACES} more"] if len(ordered) > _SHOWN_PLACES else []
    return "\n".join([f"{one.key} ({one.title}) is {one.value}; its limit is {limit}.", *shown, *more])


def find_raised(limits: Limits, base_limits: Limits) -> list[str]:
    """One message for each limit that is higher than at the base commit."""
    return [
        f"The limit of {key} is {limits[key]}, but {limit} at the base commit. Limits must not be raised."
        for key, limit in base_limits.items()
        if limits.get(key, limit) > limit
    ]


def find_unmatched(measures: Iterable[Measure], limits: Limits) -> list[str]:
    """One message for each measure without a limit or a value, and for each limit without a measure."""
    limited = {one.key: one for one in measures if one.limited}
    return [
        *(
            f"{key} ({one.title}) can no longer be computed. Adapt the measure to the code."
            for key, one in limited.items()
            if one.value is None
        ),
        *(
            f"{key} has no limit in {FILE}. Set it to the current value: {key} = {one.value}"
            for key, one in limited.items()
            if one.value is not None and key not in limits
        ),
        *(f"{key} in {FILE} is not the key of a measure." for key in limits if key not in limited),
    ]

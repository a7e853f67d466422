"""Reads and writes the limits of the measures, and compares the values of the measures with them."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping

from checks.measure import Measure, Place
from checks.repository import Repository

FILE = "checks/limits.toml"
_HEADER = """\
# Limits of `make measures`, one per measure. `make check` fails if a value exceeds both its limit and its goal.
# Limits are only ever lowered: `make measures LOWER=1`. `python -m checks.measures --write` sets all limits to the
# values of the work tree.
"""
_MAX_PLACES = 10

Limits = Mapping[str, int]


def parse_limits(text: str) -> Limits:
    """Parse the limits; return them by the key of their measure."""
    return {key: int(value) for key, value in tomllib.loads(text).items()}


def read_limits(repository: Repository) -> Limits:
    """Read the limits of the work tree; return no limits if the file is missing."""
    path = repository.root / FILE
    return parse_limits(path.read_text()) if path.exists() else {}


def write_limits(repository: Repository, limits: Limits) -> None:
    """Write the limits to the work tree."""
    lines = [f"{key} = {limit}\n" for key, limit in limits.items()]
    (repository.root / FILE).write_text(_HEADER + "\n" + "".join(lines))


def build_limits(measures: Iterable[Measure]) -> Limits:
    """Return limits that are equal to the current values of the measures."""
    return {measure.key: measure.value for measure in measures if measure.is_limited and measure.value is not None}


def lower_limits(measures: Iterable[Measure], limits: Limits) -> Limits:
    """Return the limits, each lowered to the current value of its measure if the value is lower."""
    values = build_limits(measures)
    return {key: min(limit, values.get(key, limit)) for key, limit in limits.items()}


def find_measures_below_limit(measures: Iterable[Measure], limits: Limits) -> list[Measure]:
    """Find the measures with values below their limits."""
    return [
        measure
        for measure in measures
        if measure.value is not None and measure.value < limits.get(measure.key, measure.value)
    ]


def find_measures_above_limit(measures: Iterable[Measure], limits: Limits) -> list[Measure]:
    """Find the measures with values above both their limits and their goals."""
    return [
        measure
        for measure in measures
        if measure.value is not None
        and measure.value > limits.get(measure.key, measure.value)
        and not measure.meets_goal()
    ]


def describe_exceeded_limit(measure: Measure, limit: int, base_measures: Iterable[Measure]) -> str:
    """Describe an exceeded limit and list the places of its measure: first the new places, then the worst places.

    A place is new if it does not exist at the base commit. Places are compared by file and note, because line numbers
    change. If a file has more places with the same note than at the base commit, all of these places count as new.
    """
    base_places = [place for base in base_measures if base.key == measure.key for place in base.places]
    base_counts = Counter((place.path, place.note) for place in base_places)
    new_counts = Counter((place.path, place.note) for place in measure.places) - base_counts

    def sort_key(place: Place) -> tuple[bool, int, str, int]:
        is_old = (place.path, place.note) not in new_counts
        return is_old, -place.weight, place.path, place.line

    places = sorted(measure.places, key=sort_key)
    lines = [f"{measure.key} ({measure.title}) is {measure.value}; its limit is {limit}."]
    lines += [f"  {place}" for place in places[:_MAX_PLACES]]
    if len(places) > _MAX_PLACES:
        lines.append(f"  ... and {len(places) - _MAX_PLACES} more")
    return "\n".join(lines)


def find_raised_limits(limits: Limits, base_limits: Limits) -> list[str]:
    """Return one message for each limit that is higher than at the base commit."""
    return [
        f"The limit of {key} is {limits[key]}, but {base_limit} at the base commit. Limits must not be raised."
        for key, base_limit in base_limits.items()
        if limits.get(key, base_limit) > base_limit
    ]


def find_unmatched_limits(measures: Iterable[Measure], limits: Limits) -> list[str]:
    """Return one message for each measure without a limit or a value, and for each limit without a measure."""
    limited_measures = {measure.key: measure for measure in measures if measure.is_limited}
    return [
        *(
            f"{key} ({measure.title}) can no longer be computed. Adapt the measure to the code."
            for key, measure in limited_measures.items()
            if measure.value is None
        ),
        *(
            f"{key} has no limit in {FILE}. Set it to the current value: {key} = {measure.value}"
            for key, measure in limited_measures.items()
            if measure.value is not None and key not in limits
        ),
        *(f"{key} in {FILE} is not the key of a measure." for key in limits if key not in limited_measures),
    ]

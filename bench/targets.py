"""The targets of the benchmark, and the benchmark rows, which compare figures with targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.whole import targets as whole


@dataclass(frozen=True)
class Target:
    """The required minimum or maximum of one figure.

    Args:
        limit: the minimum of the figure if `is_minimum`, otherwise its maximum.
        unit: unit of the figure and of the limit.
        floor_unit: unit of the floor that is measured with the figure; empty if there is no floor.
    """

    limit: float
    is_minimum: bool
    unit: str
    floor_unit: str = ""

    def is_met_by(self, figure: float) -> bool:
        return figure >= self.limit if self.is_minimum else figure <= self.limit


def _min_target(limit: float, unit: str, floor_unit: str = "") -> Target:
    return Target(limit, is_minimum=True, unit=unit, floor_unit=floor_unit)


def _max_target(limit: float, unit: str, floor_unit: str = "") -> Target:
    return Target(limit, is_minimum=False, unit=unit, floor_unit=floor_unit)


TARGETS = {
    "poll": _min_target(0.6, "x a bare Flask GET's requests/s", "requests/s"),
    "poll p50, 1 client": _max_target(2, "x a bare Flask GET's p50", "ms"),
    "poll with Prefer": _min_target(0.83, "x polls/s without the header", "requests/s"),
    "poll with Origin": _min_target(0.83, "x polls/s without the header", "requests/s"),
    "poll with proxy": _min_target(0.83, "x polls/s without the headers", "requests/s"),
    "poll with If-None-Match": _min_target(0.83, "x polls/s without the header", "requests/s"),
    "submit with Idempotency-Key": _min_target(0.83, "x submits/s without the header", "requests/s"),
    "submit": _min_target(0.35, "x a bare, parsing Flask POST's requests/s", "requests/s"),
    "submit p99": _max_target(5, "p99 / p50 at 64 clients", "ms, p50"),
    "submit p50, 1 client": _max_target(4, "x a bare, parsing Flask POST's p50", "ms"),
    "completions": _min_target(0.25, "x a Celery no-op's tasks/s", "tasks/s"),
    "pickup": _max_target(2, "x a Celery no-op's round trip, p50", "ms, p50"),
    "many at once: together": _min_target(1, "share in progress at one moment"),
    "many at once: wall": _max_target(1.2, "x reading directly from the model server", "s"),
    "many at once: memory": _max_target(150, "MB of the worker over idle", "MB, idle"),
    "first token": _max_target(15, "ms more than the model server, p50", "ms, p50"),
    "relay": _min_target(0.5, "x a bare relay's tokens/s, event log on", "tokens/s"),
    "cancel p50": _max_target(20, "ms until the model server's connection is closed"),
    "cancel p99": _max_target(250, "ms until the model server's connection is closed"),
    "growth: submit": _max_target(1.2, "x p50 with few stored responses", "ms, p50"),
    "growth: poll": _max_target(1.2, "x p50 with few stored responses", "ms, p50"),
    "growth: claim": _max_target(1.2, "x p50 with few stored responses", "ms, p50"),
    "growth: dispatch": _max_target(1.2, "x p50 with few stored responses", "ms, p50"),
    "growth: list": _max_target(1.2, "x p50 with few stored responses", "ms, p50"),
    "faults": _max_target(0, "accepted responses that did not end exactly once and correctly"),
}
TARGETS |= {aim.name: Target(aim.limit, aim.is_minimum, aim.unit, aim.floor_unit) for aim in whole.AIMS}


@dataclass(frozen=True)
class Row:
    """The figures for one target.

    Args:
        figures: the figure of each repetition, in the unit of the target.
        floors: the floor of each repetition; empty if there is no floor.
        raw: the measured quantity of each repetition if `figures` are derived from it, otherwise empty. `make compare`
            compares these quantities. If higher figures are better, higher quantities are better too.
        raw_unit: unit of `raw`.
    """

    name: str
    figures: Sequence[float]
    floors: Sequence[float] = ()
    raw: Sequence[float] = ()
    raw_unit: str = ""

    @property
    def target(self) -> Target:
        return TARGETS[self.name]

    @property
    def figure(self) -> float:
        return median(self.figures)

    @property
    def is_met(self) -> bool:
        return self.target.is_met_by(self.figure)

    @property
    def measured(self) -> Sequence[float]:
        """The measured quantity of each repetition: `raw`, or `figures` if `raw` is empty."""
        return self.raw or self.figures

    @property
    def measured_unit(self) -> str:
        return self.raw_unit if self.raw else self.target.unit

    def as_json(self) -> dict[str, Any]:
        """The row as an object of `bench/report.json`."""
        return {
            "name": self.name,
            "ratio": _round_figure(self.figure),
            "target": self.target.limit,
            "met": self.is_met,
            "floor": _round_figure(median(self.floors)) if self.floors else None,
            "spread": [_round_figure(min(self.figures)), _round_figure(max(self.figures))],
            "unit": self.target.unit,
            "raw": _round_figure(median(self.measured)),
            "raw_spread": [_round_figure(min(self.measured)), _round_figure(max(self.measured))],
            "raw_unit": self.measured_unit,
            "higher_is_better": self.target.is_minimum,
        }


def build_ratio_row(name: str, measured: Sequence[float], floors: Sequence[float]) -> Row:
    """Build a row whose figures are the ratios of `measured` to `floors`; `measured` is in the unit of the floor."""
    figures = [value / floor for value, floor in zip(measured, floors, strict=True)]
    return Row(name, figures, floors, raw=measured, raw_unit=TARGETS[name].floor_unit)


def _round_figure(value: float) -> float:
    """Round a value to four significant digits."""
    return float(f"{value:.4g}")

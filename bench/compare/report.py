"""Writes the result of a comparison to `bench/compare.json` and prints it as a table."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TypedDict

import orjson
from rich.console import Console
from rich.table import Table

from bench import report
from bench.compare.comparison import BETTER, UNCONFIRMED, WORSE, Outcome, Verdict
from bench.compare.trees import Tree
from bench.compare.verdict import Samples

PATH = Path(report.PATH).with_name("compare.json")
_STYLES = {WORSE: "red", UNCONFIRMED: "red", BETTER: "green"}


class Figures(TypedDict):
    """The figures of a row in one tree, one per round, with their median and range."""

    median: float
    spread: list[float]
    figures: list[float]


class Compared(TypedDict):
    """The figures of a row in both trees. `ratio` is the median of HEAD divided by that of BASE."""

    base: Figures
    head: Figures
    ratio: float | None
    rounds: int


class Row(TypedDict):
    """One row of the report. `again` is the second measurement of a row that looked worse."""

    name: str
    measure: str
    unit: str
    higher_is_better: bool
    verdict: str
    first: Compared
    again: Compared | None


def write(base: Tree, head: Tree, outcome: Outcome, *, quick: bool, seconds: float, path: Path = PATH) -> None:
    """Write the report."""
    written = {
        "base": {"commit": base.commit, "subject": base.subject},
        "head": {"commit": head.commit, "subject": head.subject},
        "worse": [one.row.name for one in outcome.verdicts if one.verdict == WORSE],
        "rows": [_row(one) for one in outcome.verdicts],
        "left_out": outcome.left_out,
        "failed": outcome.failed,
        "only_in_base": outcome.only_in_base,
        "only_in_head": outcome.only_in_head,
        "notes": outcome.notes,
        "quick": quick,
        "seconds": round(seconds),
        "machine": report.machine(),
    }
    path.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2))


def _row(one: Verdict) -> Row:
    return {
        "name": one.row.name,
        "measure": one.row.measure,
        "unit": one.row.unit,
        "higher_is_better": one.row.samples.higher_is_better,
        "verdict": one.verdict,
        "first": _compared(one.row.samples),
        "again": None if one.again is None else _compared(one.again),
    }


def _compared(samples: Samples) -> Compared:
    ratio = samples.ratio
    return {
        "base": _figures(samples.base),
        "head": _figures(samples.head),
        "ratio": None if ratio is None else _short(ratio),
        "rounds": len(samples.base),
    }


def _figures(values: tuple[float, ...]) -> Figures:
    return {
        "median": _short(median(values)),
        "spread": [_short(min(values)), _short(max(values))],
        "figures": [_short(value) for value in values],
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def show(base: Tree, head: Tree, outcome: Outcome, console: Console) -> None:
    """Print the report as tables."""
    for tree in (base, head):
        console.print(f"{tree.name}: {tree.commit[:10]} {tree.subject}", markup=False)
    table = Table(title="Medians and ranges", title_justify="left")
    for heading in ("row", "unit", "base", "head", "head / base", "rounds", ""):
        table.add_column(heading, max_width=32)
    for one in outcome.verdicts:
        style = _STYLES.get(one.verdict)
        table.add_row(one.row.name, one.row.unit, *_cells(one.row.samples), one.verdict, style=style)
        if one.again is not None:
            table.add_row("  measured again", "", *_cells(one.again), "", style=style)
    console.print(table)
    lists = {
        "Without five rounds": _by_reason(outcome.left_out),
        "Failed": [f"{name}: {why}" for name, why in outcome.failed.items()],
        "Only in base": outcome.only_in_base,
        "Only in head": outcome.only_in_head,
        "Note": outcome.notes,
    }
    for heading, lines in lists.items():
        for line in lines:
            console.print(f"{heading}: {line}", markup=False)
    worse = [one.row.name for one in outcome.verdicts if one.verdict in {WORSE, UNCONFIRMED}]
    console.print(f"Worse: {'; '.join(worse)}" if worse else "Nothing is worse.", markup=False)


def _by_reason(left_out: Mapping[str, str]) -> list[str]:
    reasons = dict.fromkeys(left_out.values())
    return [f"{', '.join(name for name in left_out if left_out[name] == why)} ({why})" for why in reasons]


def _cells(samples: Samples) -> list[str]:
    compared = _compared(samples)
    ratio = compared["ratio"]
    trees = [
        f"{one['median']:g} ({one['spread'][0]:g} - {one['spread'][1]:g})"
        for one in (compared["base"], compared["head"])
    ]
    return [*trees, "" if ratio is None else f"{ratio:.3g}", str(compared["rounds"])]

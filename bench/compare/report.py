"""Writes the result of a comparison to `bench/compare.json` and prints it."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TypedDict

import orjson
from rich.console import Console
from rich.table import Table

from bench import report
from bench.compare.comparison import BETTER, NOT_REMEASURED, WORSE, Outcome, RowVerdict
from bench.compare.trees import Tree
from bench.compare.verdict import Samples

PATH = Path(report.PATH).with_name("compare.json")
_STYLES = {WORSE: "red", NOT_REMEASURED: "red", BETTER: "green"}


class TreeFigures(TypedDict):
    """The figures of a benchmark row in one worktree, one per round, with their median and range."""

    median: float
    spread: list[float]
    figures: list[float]


class FigurePair(TypedDict):
    """The figures of a row in both worktrees; `ratio` is the median of HEAD divided by that of BASE."""

    base: TreeFigures
    head: TreeFigures
    ratio: float | None
    rounds: int


class RowObject(TypedDict):
    """A row of the report; `again` is the second measurement if the row looked worse in the first one."""

    name: str
    measure: str
    unit: str
    higher_is_better: bool
    verdict: str
    first: FigurePair
    again: FigurePair | None


def write(base: Tree, head: Tree, outcome: Outcome, *, quick: bool, seconds: float, path: Path = PATH) -> None:
    """Write the report."""
    document = {
        "base": {"commit": base.commit, "subject": base.subject},
        "head": {"commit": head.commit, "subject": head.subject},
        "worse": [verdict.row.name for verdict in outcome.verdicts if verdict.label == WORSE],
        "rows": [_row_object(verdict) for verdict in outcome.verdicts],
        "left_out": outcome.omissions,
        "failed": outcome.failures,
        "only_in_base": outcome.only_in_base,
        "only_in_head": outcome.only_in_head,
        "notes": outcome.notes,
        "quick": quick,
        "seconds": round(seconds),
        "machine": report.describe_machine(),
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _row_object(verdict: RowVerdict) -> RowObject:
    return {
        "name": verdict.row.name,
        "measure": verdict.row.measure,
        "unit": verdict.row.unit,
        "higher_is_better": verdict.row.samples.higher_is_better,
        "verdict": verdict.label,
        "first": _figure_pair(verdict.row.samples),
        "again": None if verdict.repetition is None else _figure_pair(verdict.repetition),
    }


def _figure_pair(samples: Samples) -> FigurePair:
    ratio = samples.ratio
    return {
        "base": _tree_figures(samples.base),
        "head": _tree_figures(samples.head),
        "ratio": None if ratio is None else _round_figure(ratio),
        "rounds": len(samples.base),
    }


def _tree_figures(values: tuple[float, ...]) -> TreeFigures:
    return {
        "median": _round_figure(median(values)),
        "spread": [_round_figure(min(values)), _round_figure(max(values))],
        "figures": [_round_figure(value) for value in values],
    }


def _round_figure(value: float) -> float:
    return float(f"{value:.4g}")


def show(base: Tree, head: Tree, outcome: Outcome, console: Console) -> None:
    """Print the result as a table and lists."""
    for tree in (base, head):
        console.print(f"{tree.name}: {tree.commit[:10]} {tree.subject}", markup=False)
    table = Table(title="Medians and ranges", title_justify="left")
    for heading in ("row", "unit", "base", "head", "head / base", "rounds", ""):
        table.add_column(heading, max_width=32)
    for verdict in outcome.verdicts:
        row, style = verdict.row, _STYLES.get(verdict.label)
        table.add_row(row.name, row.unit, *_cells(row.samples), verdict.label, style=style)
        if verdict.repetition is not None:
            table.add_row("  measured again", "", *_cells(verdict.repetition), "", style=style)
    console.print(table)
    lists = {
        "Without five rounds": _group_by_reason(outcome.omissions),
        "Failed": [f"{name}: {reason}" for name, reason in outcome.failures.items()],
        "Only in base": outcome.only_in_base,
        "Only in head": outcome.only_in_head,
        "Note": outcome.notes,
    }
    for heading, lines in lists.items():
        for line in lines:
            console.print(f"{heading}: {line}", markup=False)
    worse = [verdict.row.name for verdict in outcome.verdicts if verdict.label in {WORSE, NOT_REMEASURED}]
    console.print(f"Worse: {'; '.join(worse)}" if worse else "Nothing is worse.", markup=False)


def _group_by_reason(omissions: Mapping[str, str]) -> list[str]:
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in omissions.items():
        names_by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} ({reason})" for reason, names in names_by_reason.items()]


def _cells(samples: Samples) -> list[str]:
    pair = _figure_pair(samples)
    ratio = pair["ratio"]
    figure_cells = [
        f"{figures['median']:g} ({figures['spread'][0]:g} - {figures['spread'][1]:g})"
        for figures in (pair["base"], pair["head"])
    ]
    return [*figure_cells, "" if ratio is None else f"{ratio:.3g}", str(pair["rounds"])]

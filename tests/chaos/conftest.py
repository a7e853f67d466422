"""A summary of the chaos suite: a table of the outcomes of each scenario, and a report file."""

import json
from pathlib import Path

import pytest

REPORT = Path(__file__).parent / "report.json"
MUST_BE_ZERO = ("written twice", "changed after the end", "gaps", "left open", "untrue", "died")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "chaos"
    ]
    if not rows:
        return
    terminalreporter.section("chaos")
    widths = {name: max(len(str(row[name])) for row in [*rows, {name: name}]) for name in rows[0]}
    for row in [dict(zip(rows[0], rows[0], strict=True)), *rows]:
        terminalreporter.write_line("  ".join(str(row[name]).ljust(width) for name, width in widths.items()))
    if terminalreporter.config.getoption("-m") == "long":
        REPORT.write_text(json.dumps(report(rows, len(terminalreporter.stats.get("failed", [])))))


def report(rows: list[dict[str, int]], failed: int) -> dict[str, int]:
    """The figures that `make bench` shows beside its own.

    Args:
        failed: number of failed tests; each counts as a violation, whether or not it reached the table.
    """
    accepted, terminal = (sum(row[name] for row in rows) for name in ("accepted", "terminal"))
    zeros = sum(row[name] for row in rows for name in MUST_BE_ZERO)
    return {
        "accepted": accepted,
        "terminal": terminal,
        "failed": failed,
        "violations": accepted - terminal + zeros + failed,
    }

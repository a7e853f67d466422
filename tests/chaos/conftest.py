"""The summary of the chaos suite: a table with the outcome of each scenario, and a report file for `make bench`."""

import json
from pathlib import Path
from typing import Any

import pytest

REPORT = Path(__file__).parent / "report.json"
# Columns that count violations.
VIOLATIONS = (
    "written twice",
    "changed after the end",
    "incorrect logs",
    "leaked connections",
    "false statements",
    "crashes",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = summary_rows(terminalreporter)
    if not rows:
        return
    terminalreporter.section("chaos")
    header = {name: name for name in rows[0]}
    widths = {name: max(len(str(row[name])) for row in [header, *rows]) for name in header}
    for row in [header, *rows]:
        terminalreporter.write_line("  ".join(str(row[name]).ljust(width) for name, width in widths.items()))
    if terminalreporter.config.getoption("-m") == "long":
        REPORT.write_text(json.dumps(totals(rows, len(terminalreporter.stats.get("failed", [])))))


def summary_rows(terminalreporter: pytest.TerminalReporter) -> list[dict[str, Any]]:
    """The rows that tests have recorded as the property `chaos`."""
    rows = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                rows += [value for name, value in report.user_properties if name == "chaos"]
    return rows


def totals(rows: list[dict[str, int]], failed_count: int) -> dict[str, int]:
    """The totals that `make bench` shows next to its own results.

    Args:
        failed_count: number of failed tests; each is a violation, even if it added no row to the table.
    """
    accepted, terminal = (sum(row[name] for row in rows) for name in ("accepted", "terminal"))
    violations = sum(row[name] for row in rows for name in VIOLATIONS)
    return {
        "accepted": accepted,
        "terminal": terminal,
        "failed": failed_count,
        "violations": accepted - terminal + violations + failed_count,
    }

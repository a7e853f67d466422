"""At the end of the chaos suite, what became of every response of every scenario, in a table."""

import pytest


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

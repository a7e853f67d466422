"""Measures the speed of Postgres itself over one connection, as a reference for the benchmark rows."""

from statistics import median

from bench.floors.statements import Statements
from bench.run import Run


def measure(run: Run) -> None:
    """Record single-row commits and selects by primary key per second."""
    statements = Statements(run.deployment.database_url)
    seconds = run.sizes.slice_s / 4
    rates = run.interleave(
        commits=lambda: statements.commits_per_s(seconds), selects=lambda: statements.selects_per_s(seconds)
    )
    statements.close()
    commits, selects = (round(median(rates[name])) for name in ("commits", "selects"))
    run.extra_figures["Postgres, one connection: rows/s, each committed separately"] = commits
    run.extra_figures["Postgres, one connection: rows/s, each selected by primary key"] = selects

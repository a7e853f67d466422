"""Adds the number of violations that `make chaos` found; the benchmark itself does not inject faults.

A violation is an accepted response that did not end exactly once and correctly.
"""

import json
from pathlib import Path

from bench.run import Run
from bench.targets import Row
from local.servers import packages

REPORT = packages.ROOT / "tests" / "chaos" / "report.json"


def measure(run: Run, report: Path = REPORT) -> None:
    """Add the row `faults`, if there is a report of `make chaos`."""
    if not report.exists():
        run.extra_figures["faults"] = "not measured: there is no report of `make chaos`"
        return
    chaos_report = json.loads(report.read_text(encoding="utf-8"))
    run.add(Row("faults", [float(chaos_report["violations"])]))

"""What `make chaos` found of accepted responses that did not come to one true end; it measures that, not we."""

import json
from pathlib import Path

from bench.run import Run
from bench.targets import Row
from local.servers import packages

REPORT = packages.ROOT / "tests" / "chaos" / "report.json"


def measure(run: Run, report: Path = REPORT) -> None:
    """Add the row `faults`, if there is a report of `make chaos`."""
    if not report.exists():
        run.beside["faults"] = "not measured here: `make chaos` has left no report"
        return
    found = json.loads(report.read_text(encoding="utf-8"))
    run.add(Row("faults", [float(found["violations"])]))

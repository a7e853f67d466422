"""Writes the results of a run to `bench/report.json` and prints them as tables."""

import os
import platform
from pathlib import Path
from typing import Any

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from bench.run import Run
from bench.targets import TARGETS
from core import VERSION

PATH = Path(__file__).with_name("report.json")


def write(run: Run, *, quick: bool, seconds: float, path: Path = PATH) -> dict[str, Any]:
    """Write the report and return it.

    `rows` has one entry for each measured target, in the order of the targets. The other keys contain additional
    figures, and describe the run and the machine.
    """
    rows = {row.name: row.as_json() for row in run.rows}
    report = {
        "rows": [rows[name] for name in TARGETS if name in rows],
        "quick": quick,
        "repetitions": run.sizes.repetitions,
        "seconds": round(seconds),
        "machine": describe_machine(),
        "extra_figures": run.extra_figures,
        "cpu_us": run.cpu_us,
        "curves": run.curves,
        "durations_s": run.durations_s,
    }
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return report


def describe_machine() -> dict[str, Any]:
    """Describe this machine and its software."""
    _, _, load_average_15_min = os.getloadavg()
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average_15_min": round(load_average_15_min, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "backburner": VERSION,
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def show(report: dict[str, Any], console: Console) -> None:
    """Print the report as tables."""
    table = Table(title="Targets", title_justify="left")
    for heading in ("row", "target", "measured", "spread", "floor", ""):
        table.add_column(heading)
    for row in report["rows"]:
        target = TARGETS[row["name"]]
        limit = f"{'>=' if target.is_minimum else '<='} {target.limit:g}"
        floor = "" if row["floor"] is None else f"{row['floor']:g} {target.floor_unit}"
        low, high = row["spread"]
        verdict = "[green]met[/]" if row["met"] else "[red]missed[/]"
        table.add_row(row["name"], limit, f"{row['ratio']:g} {row['unit']}", f"{low:g} - {high:g}", floor, verdict)
    console.print(table)
    if report["cpu_us"]:
        cpu_table = Table(title="Processor time of one request, in microseconds, by process", title_justify="left")
        processes = sorted({process for cost_us in report["cpu_us"].values() for process in cost_us})
        for heading in ("", *processes):
            cpu_table.add_column(heading)
        for name, cost_us in report["cpu_us"].items():
            cpu_table.add_row(name, *(str(cost_us.get(process, "")) for process in processes))
        console.print(cpu_table)
    if report["extra_figures"]:
        figure_table = Table(title="Additional figures", title_justify="left")
        for heading in ("", "measured"):
            figure_table.add_column(heading)
        for description, value in report["extra_figures"].items():
            figure_table.add_row(description, str(value))
        console.print(figure_table)
    console.print(
        "Seconds per measure: " + ", ".join(f"{name} {seconds}" for name, seconds in report["durations_s"].items())
    )

"""`python -m bench.soak`: checks whether any process grows under a steady mixed load of several minutes.

It prints a table and writes `bench/soak.json`. Linux only: it reads /proc.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table

from bench import cpu, load, report
from bench.deployment import Deployment, background_body
from bench.footprint import Footprint, measure_footprint
from bench.load import wire
from bench.servers import run_servers
from bench.soak import trend
from bench.soak.mixed import MODEL, MODELS, MixedLoad
from local.servers import packages

PATH = report.PATH.with_name("soak.json")
FOLDER = packages.ROOT / ".bench-soak"
SAMPLE_INTERVAL_S = 5.0
# Share of the samples at the start that is not evaluated: caches fill, and connections and threads are created.
WARM_UP_SHARE = 0.25
# Growth in MB per hour that may be noise. At the rate of the load, it is about 100 bytes per response.
TOLERANCE_MB_H = 10.0
# Permitted increase in open files and in threads from the first to the last samples after the warm-up.
_TOLERATED_INCREASE = 5
_PROCESSES = ("api", "worker", "sweeper", "postgres", "valkey")
# Number of samples at the start and at the end (after the warm-up) that the verdict compares.
_COMPARED_SAMPLES = 5
_BURST_RESPONSES = 200


@dataclass(frozen=True)
class Verdict:
    """The growth of a process after the warm-up.

    Args:
        start_mb: mean memory of the first samples.
        end_mb: mean memory of the last samples.
        mb_per_h: slope of a line through the memory of all samples.
        error_mb_per_h: standard error of the slope.
        start_files: minimum number of open files in the first samples.
        end_files: minimum number of open files in the last samples.
        start_threads: minimum number of threads in the first samples.
        end_threads: minimum number of threads in the last samples.
        has_grown: whether memory, open files or threads have increased by more than the tolerance.
    """

    start_mb: float
    end_mb: float
    mb_per_h: float
    error_mb_per_h: float
    start_files: int
    end_files: int
    start_threads: int
    end_threads: int
    has_grown: bool


def judge_growth(samples: Sequence[tuple[float, Footprint]]) -> Verdict:
    """Evaluate the samples of a process, each with its time in seconds since the start."""
    duration_s = samples[-1][0]
    evaluated = [(time_s, footprint) for time_s, footprint in samples if time_s >= WARM_UP_SHARE * duration_s]
    line = trend.fit_line(
        [time_s / 3600 for time_s, _ in evaluated], [footprint.own_bytes / 1e6 for _, footprint in evaluated]
    )
    footprints = [footprint for _, footprint in evaluated]
    first, last = footprints[:_COMPARED_SAMPLES], footprints[-_COMPARED_SAMPLES:]
    start_files, end_files = (min(footprint.files for footprint in group) for group in (first, last))
    start_threads, end_threads = (min(footprint.threads for footprint in group) for group in (first, last))
    increase = max(end_files - start_files, end_threads - start_threads)
    return Verdict(
        start_mb=round(sum(footprint.own_bytes for footprint in first) / len(first) / 1e6, 2),
        end_mb=round(sum(footprint.own_bytes for footprint in last) / len(last) / 1e6, 2),
        mb_per_h=round(line.slope, 1),
        error_mb_per_h=round(line.error, 1),
        start_files=start_files,
        end_files=end_files,
        start_threads=start_threads,
        end_threads=end_threads,
        has_grown=line.is_growth(TOLERANCE_MB_H) or increase > _TOLERATED_INCREASE,
    )


def run_soak(deployment: Deployment, seconds: float, interval_s: float = SAMPLE_INTERVAL_S) -> dict[str, Any]:
    """Put load on a running deployment for `seconds`, and return the report with a verdict for each process."""
    _run_burst(deployment)
    samples: dict[str, list[tuple[float, Footprint]]] = {name: [] for name in _PROCESSES}
    pids = {name: deployment.pids[name] for name in _PROCESSES}
    began_at = time.monotonic()
    with MixedLoad(deployment) as mixed_load, cpu.measure_cpu_time(pids) as cpu_time:
        while (time_s := time.monotonic() - began_at) < seconds:
            for name, pid in pids.items():
                samples[name].append((round(time_s, 1), measure_footprint(pid)))
            time.sleep(min(interval_s, max(0, seconds - time_s)))
    ((stored_count, size),) = deployment.sql(
        "select (select count(*) from responses), pg_database_size(current_database()) / 1e6"
    )
    return {
        "seconds": round(seconds),
        "tolerance_mb_per_h": TOLERANCE_MB_H,
        "machine": report.describe_machine(),
        "completions": dict(mixed_load.completions),
        "errors": dict(mixed_load.errors),
        "stored_responses": stored_count,
        "database_mb": round(float(size), 1),
        "cores": {name: round(cpu_s / seconds, 3) for name, cpu_s in cpu_time.seconds.items()},
        "processes": {name: asdict(judge_growth(series)) for name, series in samples.items()},
        "samples": {
            name: [(time_s, asdict(footprint)) for time_s, footprint in series] for name, series in samples.items()
        },
    }


def _run_burst(deployment: Deployment) -> None:
    """Run a short load, so that all parts create their connections and threads, which must not count as growth."""
    payload = wire.post_request("/v1/responses", background_body(MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=64, count=_BURST_RESPONSES))
    deployment.wait_until_ended(_BURST_RESPONSES)
    deployment.delete_responses()


def show(growth_report: dict[str, Any], console: Console) -> None:
    """Print the report."""
    table = Table(title=f"Own memory after the warm-up; tolerance: {TOLERANCE_MB_H:g} MB/h", title_justify="left")
    for heading in ("", "MB", "MB/h", "open files", "threads", "cores", ""):
        table.add_column(heading)
    for name, verdict in growth_report["processes"].items():
        table.add_row(
            name,
            f"{verdict['start_mb']:.1f} to {verdict['end_mb']:.1f}",
            f"{verdict['mb_per_h']:+.1f} ± {verdict['error_mb_per_h']:.1f}",
            f"{verdict['start_files']} to {verdict['end_files']}",
            f"{verdict['start_threads']} to {verdict['end_threads']}",
            f"{growth_report['cores'][name]:.2f}",
            "[red]grew[/]" if verdict["has_grown"] else "[green]level[/]",
        )
    console.print(table)
    console.print(
        "Completed operations: "
        + ", ".join(f"{name} {count:,}" for name, count in sorted(growth_report["completions"].items()))
    )
    console.print(
        f"Stored at the end: {growth_report['stored_responses']:,} responses;"
        f" database {growth_report['database_mb']:g} MB"
    )
    for error, count in growth_report["errors"].items():
        console.print(f"[red]{count} x[/] {error}")


@click.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0.2), help="Duration.")
def main(*, minutes: float) -> None:
    """Check whether any process grows under a steady mixed load."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with run_servers(FOLDER) as servers, Deployment(servers, "soak", 1, list(MODELS)) as deployment:
            deployment.start("api", "worker", "sweeper")
            growth_report = run_soak(deployment, 60 * minutes)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    PATH.write_bytes(orjson.dumps(growth_report, option=orjson.OPT_INDENT_2))
    show(growth_report, console)
    console.print(f"Written: {PATH.relative_to(packages.ROOT)}")


if __name__ == "__main__":
    main()

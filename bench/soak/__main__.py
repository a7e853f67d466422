"""`python -m bench.soak`: checks whether any process grows under a steady mixed load of several minutes.

Prints a table and writes `bench/soak.json`. Linux only: it reads /proc.
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

from bench import cpu, footprint, load, machine, report
from bench.deployment import Deployment, background
from bench.footprint import Footprint
from bench.load import wire
from bench.soak import trend
from bench.soak.mixed import MODEL, MODELS, Mixed
from local.servers import packages

PATH = report.PATH.with_name("soak.json")
FOLDER = packages.ROOT / ".bench-soak"
EVERY_S = 5.0
# Initial share of the time that is not evaluated, while caches fill and pools and threads are created.
WARM_UP = 0.25
# MB per hour that sampling noise alone may show. At the rate of the load, this is about 100 bytes per response.
TOLERANCE_MB_H = 10.0
# Permitted increase of open files and of threads between the first and the last samples after the warm-up.
TOLERANCE_COUNT = 5
_PROCESSES = ("api", "worker", "sweeper", "postgres", "valkey")
_MEAN_OF = 5
_BURST = 200


@dataclass(frozen=True)
class Verdict:
    """The growth of one process after the warm-up; start and end memory in MB are means of several samples."""

    start_mb: float
    end_mb: float
    mb_per_h: float
    error_mb_per_h: float
    start_files: int
    end_files: int
    start_threads: int
    end_threads: int
    grew: bool


def verdict(samples: Sequence[tuple[float, Footprint]]) -> Verdict:
    """Evaluate the samples of a process, each given with its time in seconds since the start."""
    whole = samples[-1][0]
    kept = [sample for sample in samples if sample[0] >= WARM_UP * whole]
    line = trend.through([at / 3600 for at, _ in kept], [held.own_bytes / 1e6 for _, held in kept])
    first, last = ([held for _, held in some] for some in (kept[:_MEAN_OF], kept[-_MEAN_OF:]))
    files, threads = (
        [min(getattr(held, name) for held in some) for some in (first, last)] for name in ("files", "threads")
    )
    more = max(files[1] - files[0], threads[1] - threads[0])
    return Verdict(
        start_mb=round(sum(held.own_bytes for held in first) / len(first) / 1e6, 2),
        end_mb=round(sum(held.own_bytes for held in last) / len(last) / 1e6, 2),
        mb_per_h=round(line.slope, 1),
        error_mb_per_h=round(line.error, 1),
        start_files=files[0],
        end_files=files[1],
        start_threads=threads[0],
        end_threads=threads[1],
        grew=line.grows(TOLERANCE_MB_H) or more > TOLERANCE_COUNT,
    )


def soak(deployment: Deployment, seconds: float, every_s: float = EVERY_S) -> dict[str, Any]:
    """Put a running deployment under load and return the report, with a verdict for each process."""
    _burst(deployment)
    samples: dict[str, list[tuple[float, Footprint]]] = {name: [] for name in _PROCESSES}
    pids = {name: deployment.pids[name] for name in _PROCESSES}
    began_at = time.monotonic()
    with Mixed(deployment) as mixed, cpu.spending(pids) as spent:
        while (at := time.monotonic() - began_at) < seconds:
            for name, pid in pids.items():
                samples[name].append((round(at, 1), footprint.of(pid)))
            time.sleep(min(every_s, max(0, seconds - at)))
    ((stored, size),) = deployment.sql(
        "select (select count(*) from responses), pg_database_size(current_database()) / 1e6"
    )
    return {
        "seconds": round(seconds),
        "tolerance_mb_per_h": TOLERANCE_MB_H,
        "machine": report.machine(),
        "done": dict(mixed.done),
        "errors": dict(mixed.errors),
        "stored": stored,
        "database_mb": round(float(size), 1),
        "cores": {name: round(each / seconds, 3) for name, each in spent.seconds.items()},
        "processes": {name: asdict(verdict(found)) for name, found in samples.items()},
        "samples": {name: [(at, asdict(held)) for at, held in found] for name, found in samples.items()},
    }


def _burst(deployment: Deployment) -> None:
    """Make all parts create their connections and threads, so that these do not count as growth later."""
    payload = wire.post("/v1/responses", background(MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=64, count=_BURST))
    deployment.wait_until_ended(_BURST)
    deployment.forget()


def show(found: dict[str, Any], console: Console) -> None:
    """Print the report."""
    table = Table(title=f"Own memory after the warm-up; tolerance: {TOLERANCE_MB_H:g} MB/h", title_justify="left")
    for heading in ("", "MB", "MB/h", "open files", "threads", "cores", ""):
        table.add_column(heading)
    for name, one in found["processes"].items():
        table.add_row(
            name,
            f"{one['start_mb']:.1f} to {one['end_mb']:.1f}",
            f"{one['mb_per_h']:+.1f} ± {one['error_mb_per_h']:.1f}",
            f"{one['start_files']} to {one['end_files']}",
            f"{one['start_threads']} to {one['end_threads']}",
            f"{found['cores'][name]:.2f}",
            "[red]grew[/]" if one["grew"] else "[green]level[/]",
        )
    console.print(table)
    console.print("Done: " + ", ".join(f"{name} {count:,}" for name, count in sorted(found["done"].items())))
    console.print(f"Stored at the end: {found['stored']:,} responses; database {found['database_mb']:g} MB")
    for what, count in found["errors"].items():
        console.print(f"[red]{count} x[/] {what}")


@click.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0.2), help="Duration.")
def main(*, minutes: float) -> None:
    """Check whether any process grows under a steady mixed load."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with machine.running_in(FOLDER) as servers, Deployment(servers, "soak", 1, list(MODELS)) as deployment:
            deployment.start("api", "worker", "sweeper")
            found = soak(deployment, 60 * minutes)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    PATH.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    show(found, console)
    console.print(f"Written: {PATH.relative_to(packages.ROOT)}")


if __name__ == "__main__":
    main()

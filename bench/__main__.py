"""`make bench`: measures the product and the floors, prints tables, and writes `bench/report.json` and plots."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from bench import load, plots, report
from bench.curves import levels, scale, statements
from bench.deployment import Deployment
from bench.rows import cancel, completions, faults, growth, headers, many_at_once, memory, pickup, poll, relay, submit
from bench.run import FULL, QUICK, Run, Sizes
from bench.servers import run_servers
from bench.whole import measures as whole
from local import ports
from local.servers import packages

# Measures that `--quick` skips.
LONG_MEASURES = {"scale"}
FOLDER = packages.ROOT / ".bench"

MEASURES: dict[str, Callable[[Run], None]] = {
    "poll": poll.measure,
    "submit": submit.measure,
    "headers": headers.measure,
    "levels": levels.measure,
    "statements": statements.measure,
    "completions": completions.measure,
    "pickup": pickup.measure,
    "relay": relay.measure,
    "cancel": cancel.measure,
    "many": many_at_once.measure,
    "memory": memory.measure,
    "scale": scale.measure,
    "growth": growth.measure,
    "faults": faults.measure,
    **whole.MEASURES,
}


@click.command()
@click.option("--quick", is_flag=True, help="Run fewer and smaller measurements; takes four minutes.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(MEASURES)), help="Run only this measure; can be repeated."
)
def main(*, quick: bool, only: tuple[str, ...]) -> None:
    """Benchmark the product against floors measured on this machine."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 150
    began_at = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    sizes = QUICK if quick else FULL
    with open_run(FOLDER, sizes, console.print) as run:
        _run_measures(run, quick=quick, names=only or _default_measures(quick=quick))
    if not run.failed_measures:  # otherwise keep the logs for inspection
        shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = time.monotonic() - began_at
    report.show(report.write(run, quick=quick, seconds=seconds), console)
    plot_paths = plots.draw(run.curves, report.PATH.parent)
    console.print(
        f"Took {seconds:.0f} s. Written: {', '.join(_relative_path(path) for path in (report.PATH, *plot_paths))}"
    )
    if run.failed_measures:
        logs = _relative_path(FOLDER / "logs")
        console.print(f"Measures that failed: {', '.join(run.failed_measures)}. Logs: {logs}")
        sys.exit(1)


def _default_measures(*, quick: bool) -> tuple[str, ...]:
    """Return the names of the measures that run if no measure is selected."""
    return tuple(name for name in MEASURES if not quick or name not in LONG_MEASURES)


@contextmanager
def open_run(folder: Path, sizes: Sizes, print_line: Callable[[str], None]) -> Iterator[Run]:
    """Start the servers, floors, API and sweeper, and yield a run that uses them; their data is in `folder`."""
    with run_servers(folder) as servers:
        floor_web_port, floor_relay_port = ports.free_port(), ports.free_port()
        servers.start_program("floor-web", "bench.floors.web", str(floor_web_port), port=floor_web_port)
        servers.start_program(
            "floor-relay",
            "bench.floors.relay",
            str(floor_relay_port),
            str(servers.model_server.port),
            port=floor_relay_port,
        )
        with Deployment(servers, "bench", 1, model_names(sizes)) as deployment:
            deployment.start("api", "sweeper")
            run = Run(sizes, servers, deployment, floor_web_port, floor_relay_port, print_line)
            with contextlib.closing(run):
                yield run


def _run_measures(run: Run, *, quick: bool, names: tuple[str, ...]) -> None:
    began_at = time.monotonic()
    for name in names:
        run.print_line(name)
        measure_began_at = time.monotonic()
        try:
            MEASURES[name](run)
        except (load.LoadError, TimeoutError) as error:  # the other measures may still succeed
            run.print_line(f"  {error}")
            run.failed_measures.append(name)
        run.durations_s[name] = round(time.monotonic() - measure_began_at)
        # Write the report after each measure, so that an interrupted run keeps its results.
        report.write(run, quick=quick, seconds=time.monotonic() - began_at)


def model_names(sizes: Sizes) -> list[str]:
    """Return the names of the models that the measures use."""
    return [
        "20-tokens-at-once",
        "2-tokens-every-50ms",
        "1-tokens-at-once-then-hang",
        f"{sizes.stream_token_count}-tokens-every-{relay.TOKEN_INTERVAL_MS}ms",
        scale.model_name(sizes),
        many_at_once.model_name(sizes),
    ]


def _relative_path(path: Path) -> str:
    return str(path.relative_to(packages.ROOT))


if __name__ == "__main__":
    main()

"""`make bench`: measures floors and paths, prints a table, and writes `bench/report.json` and plots next to it."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from bench import load, machine, plots, report
from bench.curves import levels, scale, statements
from bench.deployment import Deployment
from bench.rows import cancel, completions, faults, growth, many, memory, pickup, poll, relay, submit
from bench.run import FULL, QUICK, Run, Sizes
from bench.whole import measures as whole
from local import ports
from local.servers import packages

# Measures that `--quick` skips.
LONG = {"scale"}
FOLDER = packages.ROOT / ".bench"

MEASURES: dict[str, Callable[[Run], None]] = {
    "poll": poll.measure,
    "submit": submit.measure,
    "levels": levels.measure,
    "statements": statements.measure,
    "completions": completions.measure,
    "pickup": pickup.measure,
    "relay": relay.measure,
    "cancel": cancel.measure,
    "many": many.measure,
    "memory": memory.measure,
    "scale": scale.measure,
    "growth": growth.measure,
    "faults": faults.measure,
    **whole.MEASURES,
}


@click.command()
@click.option("--quick", is_flag=True, help="Run smaller measurements; takes four minutes.")
@click.option("--only", multiple=True, type=click.Choice(list(MEASURES)), help="Run only this measure; repeatable.")
def main(*, quick: bool, only: tuple[str, ...]) -> None:
    """Benchmark each path against the limits of this machine."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 150
    began_at = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    sizes = QUICK if quick else FULL
    with prepared(FOLDER, sizes, console.print) as run:
        _measure(run, quick=quick, only=only or _default(quick=quick))
    if not run.failed:  # otherwise keep the logs for inspection
        shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = time.monotonic() - began_at
    report.show(report.write(run, quick=quick, seconds=seconds), console)
    drawn = plots.draw(run.curves, report.PATH.parent)
    console.print(f"Took {seconds:.0f} s. Written: {', '.join(_near(path) for path in (report.PATH, *drawn))}")
    if run.failed:
        console.print(f"Failed: {', '.join(run.failed)}. Logs: {_near(FOLDER / 'logs')}")
        sys.exit(1)


def _default(*, quick: bool) -> tuple[str, ...]:
    """The measures to run if none is selected."""
    return tuple(name for name in MEASURES if not quick or name not in LONG)


@contextmanager
def prepared(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> Iterator[Run]:
    """Yield a run with its own servers, floors, API and sweeper, all started; all data is stored in the folder."""
    with machine.running_in(folder) as servers:
        web_port, relay_port = ports.free(), ports.free()
        servers.program("floor-web", "bench.floors.web", str(web_port), port=web_port)
        servers.program("floor-relay", "bench.floors.relay", str(relay_port), str(servers.models.port), port=relay_port)
        with Deployment(servers, "bench", 1, models(sizes)) as deployment:
            deployment.start("api", "sweeper")
            run = Run(sizes, servers, deployment, web_port, relay_port, say)
            with contextlib.closing(run):
                yield run


def _measure(run: Run, *, quick: bool, only: tuple[str, ...]) -> None:
    began_at = time.monotonic()
    for name in only:
        run.say(name)
        measured_at = time.monotonic()
        try:
            MEASURES[name](run)
        except (load.Failed, TimeoutError) as error:  # continue with the other measures
            run.say(f"  {error}")
            run.failed.append(name)
        run.took_s[name] = round(time.monotonic() - measured_at)
        # Write the report after each measure, so that an interrupted run keeps its results.
        report.write(run, quick=quick, seconds=time.monotonic() - began_at)


def models(sizes: Sizes) -> list[str]:
    """The models that the rows use."""
    return [
        "20-tokens-at-once",
        "2-tokens-every-50ms",
        "1-tokens-at-once-then-hang",
        f"{sizes.stream_tokens}-tokens-every-{relay.EVERY_MS}ms",
        scale.model(sizes),
        many.model(sizes),
    ]


def _near(path: Path) -> str:
    return str(path.relative_to(packages.ROOT))


if __name__ == "__main__":
    main()

"""`make bench`: measures floors and paths, prints a table, writes `bench/report.json` and plots beside it."""

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

# What `--quick` leaves out.
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
@click.option("--quick", is_flag=True, help="Less of everything, in four minutes: for a first look.")
@click.option("--only", multiple=True, type=click.Choice(list(MEASURES)), help="Only these; may be repeated.")
def main(*, quick: bool, only: tuple[str, ...]) -> None:
    """Say how close each path is to what this machine can do."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 150
    began_at = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    sizes = QUICK if quick else FULL
    with prepared(FOLDER, sizes, console.print) as run:
        _measure(run, quick=quick, only=only or _default(quick=quick))
    if not run.failed:  # else the logs are left for a look
        shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = time.monotonic() - began_at
    report.show(report.write(run, quick=quick, seconds=seconds), console)
    drawn = plots.draw(run.curves, report.PATH.parent)
    console.print(f"{seconds:.0f} s. Written: {', '.join(_near(path) for path in (report.PATH, *drawn))}")
    if run.failed:
        console.print(f"Could not be measured: {', '.join(run.failed)}. Logs: {_near(FOLDER / 'logs')}")
        sys.exit(1)


def _default(*, quick: bool) -> tuple[str, ...]:
    """What is measured where nothing is asked for by name."""
    return tuple(name for name in MEASURES if not quick or name not in LONG)


@contextmanager
def prepared(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> Iterator[Run]:
    """A run on servers of its own, with floors, an API and a sweeper started; all data is in the folder."""
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
        except (load.Failed, TimeoutError) as error:  # the others are worth knowing all the same
            run.say(f"  {error}")
            run.failed.append(name)
        run.took_s[name] = round(time.monotonic() - measured_at)
        # A run that is cut off leaves what it had.
        report.write(run, quick=quick, seconds=time.monotonic() - began_at)


def models(sizes: Sizes) -> list[str]:
    """The models that the rows ask for."""
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

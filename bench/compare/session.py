"""`python -m bench.compare.session`: the benchmark of one worktree, as a process that runs measures on request.

The process reads the name of a measure from each line of standard input. `protocol.py` describes the lines that the
process writes to standard output. All other output, including that of the measures, goes to standard error. The process
exits at end of file.
"""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import TextIO

import click
import orjson

from bench import __main__ as bench
from bench.compare.protocol import PROTOCOL, Figure, Greeting, Measurement
from bench.compare.sizes import SIZES, omission_reasons
from bench.run import Run

# The processor time of these floors and of these processes is not processor time of the product.
_FLOOR_NAMES = {"bare GET", "bare POST", "Celery no-op"}
_BENCHMARK_PROCESSES = {"load generator", "model_server"}


@click.command()
@click.option("--sizes", "size", type=click.Choice(list(SIZES)), required=True)
def main(size: str) -> None:
    """Start the servers, send the greeting, and run the measure named by each input line until end of file."""
    replies = _reserve_standard_output()
    shutil.rmtree(bench.FOLDER, ignore_errors=True)
    with bench.open_run(bench.FOLDER, SIZES[size], _log) as run:
        run.reuse_floors = True
        omissions = omission_reasons(size)
        measures = [name for name in bench.MEASURES if name not in omissions]
        _send(replies, Greeting(PROTOCOL, measures, omissions, asdict(run.sizes)))
        for line in sys.stdin:
            _send(replies, run_measure(run, line.strip()))


def run_measure(run: Run, name: str) -> Measurement:
    """Run a measure once.

    If the measure raises an exception, return it as the error, because a failed measure must not end the comparison.
    """
    run.rows.clear()
    run.cpu_us.clear()
    began_at, previous_preparation_s = time.monotonic(), run.preparation_s
    error = ""
    try:
        bench.MEASURES[name](run)
    except Exception as exception:  # noqa: BLE001
        error = f"{type(exception).__name__}: {exception}"
        _log(traceback.format_exc())
    figures = [] if error else list(_build_figures(run))
    return Measurement(name, time.monotonic() - began_at, run.preparation_s - previous_preparation_s, figures, error)


def _build_figures(run: Run) -> Iterator[Figure]:
    """Yield a figure for each row, and one for the processor time of each kind of request in the entire product."""
    for row in run.rows:
        yield Figure(
            name=row.name,
            value=median(row.measured),
            unit=row.measured_unit,
            higher_is_better=row.target.is_minimum,
            ratio=row.figure,
            floor=median(row.floors) if row.floors else None,
        )
    for name, costs_us in run.cpu_us.items():
        if name not in _FLOOR_NAMES:
            total_us = sum(cost_us for process, cost_us in costs_us.items() if process not in _BENCHMARK_PROCESSES)
            yield Figure(f"{name}: processor time", total_us, "us, all processes", higher_is_better=False)


def _reserve_standard_output() -> TextIO:
    """Return a file for standard output, and redirect all other output of this process and its children to stderr."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def _send(replies: TextIO, reply: Greeting | Measurement) -> None:
    replies.write(orjson.dumps(reply).decode() + "\n")
    replies.flush()


def _log(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()

"""`python -m bench.compare.session`: the benchmark of one tree as a process that runs measures on request.

It reads the name of one measure per line from standard input. `protocol.py` describes the lines of standard output.
All other output, including that of the measures, goes to standard error. It exits at end of file.
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
from bench.compare.sizes import SIZES, left_out
from bench.run import Run

# Processor time that does not belong to the product: that of floors and of programs used only by the benchmark.
_FLOOR_COSTS = {"bare GET", "bare POST", "Celery no-op"}
_TOOLS = {"load generator", "models"}


@click.command()
@click.option("--sizes", "size", type=click.Choice(list(SIZES)), required=True)
def main(size: str) -> None:
    """Start the servers, send the greeting, and run the measure of each input line until end of file."""
    answers = _take_standard_output()
    shutil.rmtree(bench.FOLDER, ignore_errors=True)
    with bench.prepared(bench.FOLDER, SIZES[size], _log) as run:
        run.floors_once = True
        skipped = left_out(size)
        offered = [name for name in bench.MEASURES if name not in skipped]
        _send(answers, Greeting(PROTOCOL, offered, skipped, asdict(run.sizes)))
        for line in sys.stdin:
            _send(answers, measured(run, line.strip()))


def measured(run: Run, name: str) -> Measurement:
    """Run a measure once.

    Any exception is returned as a result instead of being raised: a failing measure does not end the comparison.
    """
    run.rows.clear()
    run.cpu_us.clear()
    began_at, once_s = time.monotonic(), run.once_s
    error = ""
    try:
        bench.MEASURES[name](run)
    except Exception as failure:  # noqa: BLE001
        error = f"{type(failure).__name__}: {failure}"
        _log(traceback.format_exc())
    figures = [] if error else list(_figures(run))
    return Measurement(name, time.monotonic() - began_at, run.once_s - once_s, figures, error)


def _figures(run: Run) -> Iterator[Figure]:
    """The added rows, and the processor time per request in all processes of the product."""
    for row in run.rows:
        yield Figure(
            name=row.name,
            value=median(row.measured),
            unit=row.measured_unit,
            higher_is_better=row.target.at_least,
            ratio=row.figure,
            floor=median(row.floors) if row.floors else None,
        )
    for name, each in run.cpu_us.items():
        if name not in _FLOOR_COSTS:
            us = sum(spent for process, spent in each.items() if process not in _TOOLS)
            yield Figure(f"{name}: processor time", us, "us, all processes", higher_is_better=False)


def _take_standard_output() -> TextIO:
    """Reserve standard output for the protocol: redirect all other output, also of subprocesses, to standard error."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _send(answers: TextIO, what: Greeting | Measurement) -> None:
    answers.write(orjson.dumps(what).decode() + "\n")
    answers.flush()


def _log(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()

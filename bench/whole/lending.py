"""The one system of a benchmark: started when a measure first asks for it, lent to one measure after the other."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bench import fill
from bench.run import Run
from bench.whole import config
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.slices import Load
from bench.whole.system import System
from local.home import Home

_SPREAD = "90 days"


@contextmanager
def lent(run: Run) -> Iterator[System]:
    """The system, every part alive, inside the block; afterwards it holds what it held before."""
    system = run.once("whole: system", lambda: nullcontext(_started(run)))
    try:
        yield system
    finally:
        system.forget()


def _started(run: Run) -> System:
    """A system that stops at the end of the benchmark.

    It holds finished responses of some months: on empty tables Postgres would choose plans, and keep them, that are
    slow as soon as there are rows.
    """
    home = Home.at(run.machine.home.path / "whole")
    system = run.machine.enter(System(home, run.machine.models, config.paced_shape(run.sizes)))
    for side in (LIMITED, UNLIMITED):
        Load(run, system, side, ["background"]).closed(1)
    ids = [str(found[0]) for found in system.sql("select id from responses where status = 'completed' order by id")]
    fill.copies(system, ids, 0, run.sizes.whole_stored, _SPREAD)
    system.keep()
    return system

"""Provides the measured system, which is started for the first measure and shared by all of them."""

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
    """Yield the running system; on exit, delete the responses that were created in the block."""
    system = run.once("whole: system", lambda: nullcontext(_started(run)))
    try:
        yield system
    finally:
        system.forget()


def _started(run: Run) -> System:
    """Start a system that stops at the end of the benchmark, and fill it with ended responses of some months.

    With empty tables, Postgres would choose and cache plans that are slow as soon as there are rows.
    """
    home = Home.at(run.machine.home.path / "whole")
    system = run.machine.enter(System(home, run.machine.models, config.paced_shape(run.sizes)))
    for side in (LIMITED, UNLIMITED):
        Load(run, system, side, ["background"]).closed(1)
    ids = [str(found[0]) for found in system.sql("select id from responses where status = 'completed' order by id")]
    fill.copies(system, ids, 0, run.sizes.whole_stored, _SPREAD)
    system.keep()
    return system

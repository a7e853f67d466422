"""Lends the complete system to measures: it is started for the first measure and shared by all of them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bench import fill
from bench.run import Run
from bench.whole import config
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.slices import Load
from bench.whole.system import System
from local.home import Home

_AGE_SPREAD = "90 days"


@contextmanager
def use_system(run: Run) -> Iterator[System]:
    """Yield the running system; on exit, delete the responses that were created in the block."""
    system = run.prepare_once("whole: system", lambda: nullcontext(_start_system(run)))
    try:
        yield system
    finally:
        system.delete_responses()


def _start_system(run: Run) -> System:
    """Start a system that stops at the end of the benchmark, and fill it with ended responses of three months.

    With empty tables, Postgres would choose and cache plans that are slow for filled tables.
    """
    home = Home.at(run.machine.home.path / "whole")
    system = run.machine.enter(System(home, run.machine.models, config.paced_shape(run.sizes)))
    for project in (LIMITED, UNLIMITED):
        Load(run, system, project, ["background"]).run_closed(1)
    ids = [str(row[0]) for row in system.sql("select id from responses where status = 'completed' order by id")]
    fill.add_copies(system, ids, 0, run.sizes.whole_stored, _AGE_SPREAD)
    system.preserve_responses()
    return system

"""Starts the complete system for the first measure that uses it, and shares it between measures."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bench import fill
from bench.run import Run
from bench.whole import config
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.slices import ProjectLoad
from bench.whole.system import System
from local.home import Home

_MAX_AGE = "90 days"


@contextmanager
def use_system(run: Run) -> Iterator[System]:
    """Yield the running system; on exit, delete the responses that were created in the block."""
    system = run.prepare_once("whole: system", lambda: nullcontext(_start_system(run)))
    try:
        yield system
    finally:
        system.delete_responses()


def _start_system(run: Run) -> System:
    """Start a system that stops at the end of the benchmark, and fill it with ended responses of the last 90 days.

    With empty tables, Postgres would cache plans that become slow when the tables fill.
    """
    home = Home.at(run.servers.home.path / "whole")
    system = run.servers.enter(System(home, run.servers.model_server, config.paced_shape(run.sizes)))
    for project in (LIMITED, UNLIMITED):
        ProjectLoad(run, system, project, ["background"]).run_closed(1)
    ids = [str(row[0]) for row in system.sql("select id from responses where status = 'completed' order by id")]
    fill.add_copies(system, ids, 0, run.sizes.whole_stored_count, _MAX_AGE)
    system.preserve_responses()
    return system

"""Measures the processor time of Flower, and compares that of the system with Flower running and stopped."""

from bench.run import Run
from bench.targets import Row, build_ratio_row
from bench.whole.config import LIMITED
from bench.whole.shared_system import use_system
from bench.whole.slices import LoadSlice, ProjectLoad
from bench.whole.system import System

_CLIENTS = 16


def measure(run: Run) -> None:
    """Add the rows `Flower` and `Flower on`."""
    with use_system(run) as system:
        load = ProjectLoad(run, system, LIMITED)
        load.run_closed(_CLIENTS)
        slices = run.interleave(
            times=run.sizes.whole_repetitions,
            on=lambda: load.run_closed(_CLIENTS),
            off=lambda: _run_without_flower(system, load),
        )
        on_ms, off_ms = ([result.total_ms for result in slices[name]] for name in ("on", "off"))
        run.add(build_ratio_row("whole: Flower on", on_ms, off_ms))
        run.add(Row("whole: Flower", [result.costs_ms["flower"] for result in slices["on"]]))


def _run_without_flower(system: System, load: ProjectLoad) -> LoadSlice:
    system.stop("flower")
    try:
        return load.run_closed(_CLIENTS)
    finally:
        system.start("flower")

"""Measures the cost of Flower under the same load, with Flower running and with Flower stopped."""

from bench.run import Run
from bench.targets import Row, ratios
from bench.whole.config import LIMITED
from bench.whole.lending import use_system
from bench.whole.slices import Load, Slice
from bench.whole.system import System

_CLIENTS = 16


def measure(run: Run) -> None:
    """Add the rows for Flower's own processor time and for the processor time with and without Flower."""
    with use_system(run) as system:
        load = Load(run, system, LIMITED)
        load.run_closed(_CLIENTS)
        slices = run.interleave(
            times=run.sizes.whole_repetitions,
            on=lambda: load.run_closed(_CLIENTS),
            off=lambda: _run_without_flower(system, load),
        )
        on_ms, off_ms = ([result.total_ms for result in slices[name]] for name in ("on", "off"))
        run.add(ratios("whole: Flower on", on_ms, off_ms))
        run.add(Row("whole: Flower", [result.ms["flower"] for result in slices["on"]]))


def _run_without_flower(system: System, load: Load) -> Slice:
    system.stop("flower")
    try:
        return load.run_closed(_CLIENTS)
    finally:
        system.start("flower")

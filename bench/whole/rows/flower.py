"""Measures the cost of Flower: the same load with Flower running and with Flower stopped."""

from bench.run import Run
from bench.targets import Row, ratios
from bench.whole.config import LIMITED
from bench.whole.lending import lent
from bench.whole.slices import Load, Slice
from bench.whole.system import System

_CLIENTS = 16


def measure(run: Run) -> None:
    """Add the rows for Flower's own processor time and for the load with and without it."""
    with lent(run) as system:
        load = Load(run, system, LIMITED)
        load.closed(_CLIENTS)
        found = run.interleaved(
            times=run.sizes.whole_repetitions,
            on=lambda: load.closed(_CLIENTS),
            off=lambda: _without(system, load),
        )
        run.add(ratios("whole: Flower on", *([one.total_ms for one in found[name]] for name in ("on", "off"))))
        run.add(Row("whole: Flower", [one.ms["flower"] for one in found["on"]]))


def _without(system: System, load: Load) -> Slice:
    system.stop("flower")
    try:
        return load.closed(_CLIENTS)
    finally:
        system.start("flower")

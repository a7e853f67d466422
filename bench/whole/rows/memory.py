"""Measures the memory of all parts, at rest and with many running responses, and of the API with open streams."""

import time

from bench.run import Run
from bench.targets import Row
from bench.whole import idle, pss, running
from bench.whole.config import LIMITED
from bench.whole.shared_system import use_system
from bench.whole.slices import ProjectLoad
from bench.whole.system import System

# Time until memory is stable after the last request.
_SETTLE_TIME_S = 0.5


def measure(run: Run) -> None:
    """Restart all parts and add the rows for memory; `memory at rest` is measured after a few responses."""
    with use_system(run) as system:
        system.restart()
        ProjectLoad(run, system, LIMITED).run_closed(1)
        time.sleep(_SETTLE_TIME_S)
        rest_mb = _record_memory(run, system, "at rest")
        run.add(Row("whole: memory at rest", [rest_mb]))
        ids = running.start_running(system, run.sizes.whole_running_count)
        time.sleep(_SETTLE_TIME_S)
        run.add(Row("whole: memory, 1,000 running", [_record_memory(run, system, f"{len(ids):,} running")], [rest_mb]))
        _measure_streams(run, system, ids)


def _record_memory(run: Run, system: System, state: str) -> float:
    """Record the PSS of each part in MB and return the total."""
    memory_mb = {name: pss.total_mb([pid]) for name, pid in system.pids.items()}
    run.extra_figures[f"whole: MB of PSS {state}"] = ", ".join(f"{name} {mb:.0f}" for name, mb in memory_mb.items())
    return sum(memory_mb.values())


def _measure_streams(run: Run, system: System, ids: list[str]) -> None:
    """Add the rows for idle streams of the running responses `ids`."""
    before_mb = pss.total_mb([system.pids["api"]])
    with idle.open_streams(system, ids, run.sizes.whole_max_stream_count) as streams:
        time.sleep(_SETTLE_TIME_S)
        added_mb = pss.total_mb([system.pids["api"]]) - before_mb
    run.add(Row("whole: idle streams", [streams.count]))
    run.add(Row("whole: idle stream", [1000 * added_mb / streams.count], [before_mb]))
    run.extra_figures["whole: reason why no further stream was opened"] = streams.limit_reason

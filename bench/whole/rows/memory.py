"""Memory of all parts at rest and with many running responses, and memory of open streams in the API."""

import time

from bench.run import Run
from bench.targets import Row
from bench.whole import idle, pss, running
from bench.whole.config import LIMITED
from bench.whole.lending import lent
from bench.whole.slices import Load
from bench.whole.system import System

# Wait after the last request, so that threads and buffers settle.
_SETTLE_S = 0.5


def measure(run: Run) -> None:
    """Add the rows for memory. Restarts all parts first; "at rest" is after a few responses."""
    with lent(run) as system:
        system.restart()
        Load(run, system, LIMITED).closed(1)
        time.sleep(_SETTLE_S)
        rest_mb = _note(run, system, "at rest")
        run.add(Row("whole: memory at rest", [rest_mb]))
        ids = running.run(system, run.sizes.whole_running)
        time.sleep(_SETTLE_S)
        run.add(Row("whole: memory, 1,000 running", [_note(run, system, f"{len(ids):,} running")], [rest_mb]))
        _streams(run, system, ids)


def _note(run: Run, system: System, when: str) -> float:
    """Record the PSS of each part in MB and return the total."""
    each = {name: pss.mb([pid]) for name, pid in system.pids.items()}
    run.beside[f"whole: MB of PSS {when}"] = ", ".join(f"{name} {mb:.0f}" for name, mb in each.items())
    return sum(each.values())


def _streams(run: Run, system: System, ids: list[str]) -> None:
    before_mb = pss.mb([system.pids["api"]])
    with idle.opened(system, ids, run.sizes.whole_streams) as streams:
        time.sleep(_SETTLE_S)
        more_mb = pss.mb([system.pids["api"]]) - before_mb
    run.add(Row("whole: idle streams", [streams.open]))
    run.add(Row("whole: idle stream", [1000 * more_mb / streams.open], [before_mb]))
    run.beside["whole: what ended the opening of streams"] = streams.end

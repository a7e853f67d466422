"""Processor time per response under mixed load: with limits, without limits, and of Celery no-ops at the same rate."""

from statistics import median

from bench.run import Run
from bench.targets import Row, ratios
from bench.whole import counters
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.counters import Written
from bench.whole.lending import lent
from bench.whole.noops import Noops
from bench.whole.slices import Load, Slice, latencies
from bench.whole.system import System
from bench.whole.targets import of

# Number of clients in the slices in which the work of Postgres is counted.
_COUNTED = 16


def measure(run: Run) -> None:
    """Add the rows for processor time, limits and the work of Postgres per response."""
    with lent(run) as system:
        limited, unlimited = Load(run, system, LIMITED), Load(run, system, UNLIMITED)
        for load in (limited, unlimited):
            load.closed(max(run.sizes.whole_clients))  # warm up: create connections and threads, prepare statements
        for clients in run.sizes.whole_clients:
            _level(run, limited, unlimited, clients)
        _counted(run, system, limited)


def _level(run: Run, limited: Load, unlimited: Load, clients: int) -> None:
    floor = Noops.of(run)
    found: list[Slice] = []
    floors: list[dict[str, float]] = []
    without: list[Slice] = []
    for _ in range(run.sizes.whole_repetitions):
        found.append(limited.closed(clients))
        floors.append(floor.measure(found[-1].figures.per_s, run.sizes.whole_slice_s))
        without.append(unlimited.closed(clients))
    ms = [one.total_ms for one in found]
    run.add(Row(of("processor time", clients), ms))
    run.add(ratios(of("processor time over F1", clients), ms, [sum(each.values()) for each in floors]))
    run.add(ratios(of("limits", clients), ms, [one.total_ms for one in without]))
    name = of("response with limits", clients)
    run.note_cpu(name, [one.all_us for one in found])
    run.note_cpu(of("response without limits", clients), [one.all_us for one in without])
    run.note_cpu(of("F1, Celery no-op", clients), [{part: 1000 * ms for part, ms in each.items()} for each in floors])
    run.beside[f"{name}: responses/s, polls each"] = (
        f"{median(one.figures.per_s for one in found):.0f},"
        f" {median(one.figures.polls / one.figures.responses for one in found):.1f}"
    )
    run.beside[f"{name}: ms p50 and p99"] = latencies(found)


def _counted(run: Run, system: System, load: Load) -> None:
    """Count the work of Postgres in separate slices, so that it includes no other work."""
    found = run.interleaved(times=run.sizes.whole_repetitions, written=lambda: _written(system, load))["written"]
    run.add(Row("whole: commits", [one.transactions / responses for one, responses in found]))
    run.add(Row("whole: WAL", [one.wal_bytes / 1000 / responses for one, responses in found]))
    with counters.statements(system) as count:
        figures = load.closed(_COUNTED).figures
        run.add(Row("whole: statements", [count() / figures.responses]))


def _written(system: System, load: Load) -> tuple[Written, int]:
    before = counters.written(system)
    responses = load.closed(_COUNTED).figures.responses
    return counters.written(system).since(before), responses

"""Measures the processor time of a response in a mix, compared with that without limits and that of a no-op task."""

from statistics import median

from bench.run import Run
from bench.targets import Row, build_ratio_row
from bench.whole import counters
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.counters import WriteCounters
from bench.whole.noops import Noops
from bench.whole.shared_system import use_system
from bench.whole.slices import LoadSlice, ProjectLoad, describe_latencies
from bench.whole.system import System
from bench.whole.targets import row_name

# Number of clients in the slices that count the work of Postgres.
_COUNTED_CLIENTS = 16


def measure(run: Run) -> None:
    """Add the rows for processor time, limits and the work of Postgres per response."""
    with use_system(run) as system:
        limited, unlimited = ProjectLoad(run, system, LIMITED), ProjectLoad(run, system, UNLIMITED)
        for load in (limited, unlimited):
            load.run_closed(
                max(run.sizes.whole_client_counts)
            )  # warm up: create connections and threads, prepare statements
        for clients in run.sizes.whole_client_counts:
            _measure_level(run, limited, unlimited, clients)
        _measure_postgres(run, system, limited)


def _measure_level(run: Run, limited: ProjectLoad, unlimited: ProjectLoad, clients: int) -> None:
    floor = Noops.for_run(run)
    limited_slices: list[LoadSlice] = []
    floor_costs: list[dict[str, float]] = []
    unlimited_slices: list[LoadSlice] = []
    for _ in range(run.sizes.whole_repetitions):
        limited_slices.append(limited.run_closed(clients))
        floor_costs.append(floor.measure(limited_slices[-1].figures.responses_per_s, run.sizes.whole_slice_s))
        unlimited_slices.append(unlimited.run_closed(clients))
    limited_ms = [result.total_ms for result in limited_slices]
    run.add(Row(row_name("processor time", clients), limited_ms))
    run.add(
        build_ratio_row(
            row_name("processor time over F1", clients), limited_ms, [sum(costs.values()) for costs in floor_costs]
        )
    )
    run.add(build_ratio_row(row_name("limits", clients), limited_ms, [result.total_ms for result in unlimited_slices]))
    name = row_name("response with limits", clients)
    run.record_cpu_time(name, [result.all_us for result in limited_slices])
    run.record_cpu_time(row_name("response without limits", clients), [result.all_us for result in unlimited_slices])
    floor_us = [{part: 1000 * ms for part, ms in costs.items()} for costs in floor_costs]
    run.record_cpu_time(row_name("F1, Celery no-op", clients), floor_us)
    limited_figures = [result.figures for result in limited_slices]
    run.extra_figures[f"{name}: responses/s, polls each"] = (
        f"{median(figures.responses_per_s for figures in limited_figures):.0f},"
        f" {median(figures.polls / figures.response_count for figures in limited_figures):.1f}"
    )
    run.extra_figures[f"{name}: ms p50 and p99"] = describe_latencies(limited_slices)


def _measure_postgres(run: Run, system: System, load: ProjectLoad) -> None:
    """Count the work of Postgres in separate slices, because the counters include the work of all sessions."""
    results = run.interleave(times=run.sizes.whole_repetitions, writes=lambda: _count_writes(system, load))["writes"]
    run.add(Row("whole: commits", [writes.transactions / count for writes, count in results]))
    run.add(Row("whole: WAL", [writes.wal_bytes / 1000 / count for writes, count in results]))
    with counters.count_statements(system) as read_count:
        figures = load.run_closed(_COUNTED_CLIENTS).figures
        run.add(Row("whole: statements", [read_count() / figures.response_count]))


def _count_writes(system: System, load: ProjectLoad) -> tuple[WriteCounters, int]:
    """Run a slice; return the writes of Postgres and the number of responses."""
    previous_counters = counters.read_counters(system)
    response_count = load.run_closed(_COUNTED_CLIENTS).figures.response_count
    return counters.read_counters(system).since(previous_counters), response_count

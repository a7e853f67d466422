"""The state that the measures of one run share: sizes, servers and results."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple, TypeVar

from bench import cpu, load
from bench.deployment import Deployment
from bench.servers import Servers
from bench.targets import Row

T = TypeVar("T")


class Slice(NamedTuple):
    """The result of one slice of requests; `costs_us` is the processor time per request in microseconds, by process."""

    figures: load.Figures
    costs_us: dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """The sizes of all measurements.

    Args:
        repetitions: repetitions of each measurement and of its floor; the figure of a row is the median.
        long_repetitions: repetitions of measurements that take a long time.
        slice_s: duration of one slice of requests, in seconds.
        warm_up_s: duration of the unmeasured warm-up before each slice, in seconds.
        connection_counts: numbers of concurrent connections for the curve `latency`.
        noop_count: number of no-op tasks that a worker runs in one measurement.
        completion_count: number of responses that the workers run in one measurement.
        round_trip_count: number of round trips in one measurement of a latency.
        concurrent_count: number of concurrent responses of the rows `many at once`.
        concurrent_duration_s: duration of each response of the rows `many at once`, in seconds.
        stream_count: number of concurrent streams of the row `relay`.
        stream_token_count: number of tokens in each relayed stream.
        stored_counts: numbers of stored responses at which growth is measured; the first one is the floor.
        waiting_count: length of the queue for which `growth` measures the latency of calls; 0 to skip that part.
        memory_waiting_count: number of waiting responses in the memory measurement.
        memory_running_count: number of running responses in the memory measurement.
        memory_stream_count: number of streams of running responses in the memory measurement.
        process_counts: numbers of workers, or of API processes, for the curve `scale`.
        whole_client_counts: numbers of concurrent clients of the mixed load.
        whole_repetitions: repetitions of each measurement of the complete system, except memory (measured once).
        whole_stored_count: number of ended responses in the database of the complete system during all measurements.
        whole_slice_s: duration of one slice of mixed load on the complete system, in seconds.
        whole_rate_per_s: responses per second with open arrival, in which each response begins at a scheduled time.
        whole_arrival_s: duration of open arrival, in seconds.
        whole_polled_count: number of running responses that clients poll.
        whole_running_count: number of running responses in the memory measurement of the complete system.
        whole_max_stream_count: maximum number of open streams of the complete system.
    """

    repetitions: int
    long_repetitions: int
    slice_s: float
    warm_up_s: float
    connection_counts: tuple[int, ...]
    noop_count: int
    completion_count: int
    round_trip_count: int
    concurrent_count: int
    concurrent_duration_s: int
    stream_count: int
    stream_token_count: int
    stored_counts: tuple[int, ...]
    waiting_count: int
    memory_waiting_count: int
    memory_running_count: int
    memory_stream_count: int
    process_counts: tuple[int, ...]
    whole_client_counts: tuple[int, ...]
    whole_repetitions: int
    whole_stored_count: int
    whole_slice_s: float
    whole_rate_per_s: float
    whole_arrival_s: float
    whole_polled_count: int
    whole_running_count: int
    whole_max_stream_count: int


FULL = Sizes(
    repetitions=3,
    long_repetitions=3,
    slice_s=2,
    warm_up_s=0.5,
    connection_counts=(1, 2, 4, 8, 16, 64, 128),
    noop_count=4000,
    completion_count=1000,
    round_trip_count=100,
    concurrent_count=1000,
    concurrent_duration_s=10,
    stream_count=128,
    stream_token_count=400,
    stored_counts=(1_000, 100_000, 1_000_000),
    waiting_count=10_000,
    memory_waiting_count=2000,
    memory_running_count=800,
    memory_stream_count=300,
    process_counts=(1, 2, 3),
    whole_client_counts=(1, 16, 64),
    whole_repetitions=3,
    whole_stored_count=5000,
    whole_slice_s=0.8,
    whole_rate_per_s=30,
    whole_arrival_s=3.0,
    whole_polled_count=500,
    whole_running_count=1000,
    whole_max_stream_count=5000,
)
QUICK = Sizes(
    repetitions=3,
    long_repetitions=2,
    slice_s=1,
    warm_up_s=0.3,
    connection_counts=(1, 8, 64),
    noop_count=1500,
    completion_count=300,
    round_trip_count=25,
    concurrent_count=200,
    concurrent_duration_s=3,
    stream_count=128,
    stream_token_count=100,
    stored_counts=(1_000, 50_000),
    waiting_count=10_000,
    memory_waiting_count=1500,
    memory_running_count=500,
    memory_stream_count=200,
    process_counts=(1, 2),
    whole_client_counts=(1, 16, 64),
    whole_repetitions=1,
    whole_stored_count=5000,
    whole_slice_s=0.4,
    whole_rate_per_s=30,
    whole_arrival_s=1.5,
    whole_polled_count=500,
    whole_running_count=1000,
    whole_max_stream_count=5000,
)


@dataclass
class Run:
    """One run of the benchmark, with its servers and its results.

    Attributes:
        rows: results, one per target.
        floor_web_port: port of the bare Flask application.
        floor_relay_port: port of the bare relay.
        extra_figures: figures that are not rows, by description.
        cpu_us: processor time per request in microseconds, by request and process.
        durations_s: duration of each measure in seconds, by name.
        failed_measures: names of the measures that failed.
        curves: points for the plots, by curve and series.
        reuse_floors: whether each floor is measured only once, and its result is reused.
        preparation_s: seconds spent so far on work that is done only once per run.
    """

    sizes: Sizes
    servers: Servers
    deployment: Deployment
    floor_web_port: int
    floor_relay_port: int
    print_line: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    extra_figures: dict[str, object] = field(default_factory=dict)
    cpu_us: dict[str, dict[str, int]] = field(default_factory=dict)
    failed_measures: list[str] = field(default_factory=list)
    curves: dict[str, dict[str, list[tuple[float, ...]]]] = field(default_factory=dict)
    durations_s: dict[str, int] = field(default_factory=dict)
    reuse_floors: bool = False
    preparation_s: float = 0
    _shared_values: dict[str, Any] = field(default_factory=dict)
    _contexts: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def add(self, row: Row) -> None:
        """Add a row and print its figure."""
        self.rows.append(row)
        fields = row.as_json()
        self.print_line(f"  {row.name}: {fields['ratio']} {fields['unit']} ({'met' if row.is_met else 'missed'})")

    def record_cpu_time(self, name: str, repetitions: Sequence[Mapping[str, float]]) -> None:
        """Record the processor time per request of each process, in microseconds, as the median of the repetitions."""
        processes = {process for costs_us in repetitions for process in costs_us}
        self.cpu_us[name] = {
            process: round(median(costs_us.get(process, 0) for costs_us in repetitions))
            for process in sorted(processes)
        }

    def prepare_once(self, name: str, create: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """Create and enter a context manager on the first call for a name; later calls return its value until `close`.

        Use this method for expensive preparations.
        """
        if name not in self._shared_values:
            began_at = time.monotonic()
            self._shared_values[name] = self._contexts.enter_context(create())
            self.preparation_s += time.monotonic() - began_at
        value: T = self._shared_values[name]
        return value

    def close(self) -> None:
        """Exit all context managers that `prepare_once` entered."""
        self._shared_values.clear()
        self._contexts.close()

    def cache_floor(self, name: str, measure: Callable[[], T]) -> Callable[[], T]:
        """Return a function that measures a floor on every call, or only on the first if `reuse_floors` is set."""
        if not self.reuse_floors:
            return measure
        return lambda: self.prepare_once(f"floor: {name}", lambda: contextlib.nullcontext(measure()))

    def interleave(self, *, times: int | None = None, **measures: Callable[[], T]) -> dict[str, list[T]]:
        """Call all functions in turn, `times` times (default: `repetitions`), and return their results by name."""
        results: dict[str, list[T]] = {name: [] for name in measures}
        for _ in range(times or self.sizes.repetitions):
            for name, measure in measures.items():
                results[name].append(measure())
        return results

    def measure_requests(
        self, port: int, payloads: list[str], connections: int, pids: Mapping[str, int], *, seconds: float | None = None
    ) -> Slice:
        """Run one slice of requests; `seconds` is its duration (default: `slice_s`)."""
        sizes = self.sizes
        spec = load.Requests(port, payloads, connections, seconds=seconds or sizes.slice_s, warm_up_s=sizes.warm_up_s)
        with cpu.measure_cpu_time(pids) as cpu_time:
            figures = load.run(spec)
        # The processor time includes the warm-up, but `count` does not: estimate the number of all requests.
        total_count = figures.count * (1 + spec.warm_up_s / spec.seconds)
        generator_us = round(1e6 * figures.cpu_s / total_count)
        costs_us = cpu_time.per_request_us(round(total_count)) | {"load generator": generator_us}
        return Slice(figures, costs_us)

"""The state that the measures of one run share: sizes, servers and results."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

from bench import cpu, load
from bench.deployment import Deployment
from bench.machine import Machine
from bench.targets import Row

T = TypeVar("T")
# The figures of a slice of requests, and the processor time per request in microseconds, by process.
Slice = tuple[load.Figures, dict[str, float]]


@dataclass(frozen=True)
class Sizes:
    """The sizes of all measurements.

    Args:
        repetitions: repetitions of each measurement and its floor; figures are medians.
        long_repetitions: repetitions of measurements that take long.
        slice_s: duration of one measurement of requests per second (a slice), in seconds.
        warm_s: duration of the unmeasured warm-up before each slice, in seconds.
        levels: numbers of concurrent connections for the curve `latency`.
        tasks: number of no-op tasks that a worker runs in one measurement.
        completions: number of responses that a worker runs in one measurement.
        trips: number of round trips in one measurement of a latency.
        many: number of concurrent responses of `many at once`.
        many_s: duration of each of these responses, in seconds.
        streams: number of streams that are relayed concurrently.
        stream_tokens: number of tokens in each of these streams.
        stored: numbers of stored responses at which growth is measured; the first one is the floor.
        waiting: number of responses in the long queue.
        submitted: number of waiting responses in the memory measurement.
        running: number of running responses in the memory measurement.
        idle_streams: number of streams of running responses in the memory measurement.
        processes: numbers of workers, or of API processes, for the curve `scale`.
        whole_clients: numbers of concurrent clients of the mixed load.
        whole_repetitions: repetitions of each measurement of the complete system, except memory (measured once).
        whole_stored: number of ended responses in the database of the complete system during all measurements.
        whole_slice_s: duration of one slice of mixed load on the complete system, in seconds.
        whole_per_s: responses per second with open arrival, where each response begins at a fixed time.
        whole_arrivals_s: duration of open arrival, in seconds.
        whole_polled: number of running responses that clients poll.
        whole_running: number of running responses in the memory measurement of the complete system.
        whole_streams: maximum number of open streams.
    """

    repetitions: int
    long_repetitions: int
    slice_s: float
    warm_s: float
    levels: tuple[int, ...]
    tasks: int
    completions: int
    trips: int
    many: int
    many_s: int
    streams: int
    stream_tokens: int
    stored: tuple[int, ...]
    waiting: int
    submitted: int
    running: int
    idle_streams: int
    processes: tuple[int, ...]
    whole_clients: tuple[int, ...]
    whole_repetitions: int
    whole_stored: int
    whole_slice_s: float
    whole_per_s: float
    whole_arrivals_s: float
    whole_polled: int
    whole_running: int
    whole_streams: int


FULL = Sizes(
    repetitions=3,
    long_repetitions=3,
    slice_s=2,
    warm_s=0.5,
    levels=(1, 2, 4, 8, 16, 64, 128),
    tasks=4000,
    completions=1000,
    trips=100,
    many=1000,
    many_s=10,
    streams=128,
    stream_tokens=400,
    stored=(1_000, 100_000, 1_000_000),
    waiting=10_000,
    submitted=2000,
    running=800,
    idle_streams=300,
    processes=(1, 2, 3),
    whole_clients=(1, 16, 64),
    whole_repetitions=3,
    whole_stored=5000,
    whole_slice_s=0.8,
    whole_per_s=30,
    whole_arrivals_s=3.0,
    whole_polled=500,
    whole_running=1000,
    whole_streams=5000,
)
QUICK = Sizes(
    repetitions=3,
    long_repetitions=2,
    slice_s=1,
    warm_s=0.3,
    levels=(1, 8, 64),
    tasks=1500,
    completions=300,
    trips=25,
    many=200,
    many_s=3,
    streams=128,
    stream_tokens=100,
    stored=(1_000, 50_000),
    waiting=10_000,
    submitted=1500,
    running=500,
    idle_streams=200,
    processes=(1, 2),
    whole_clients=(1, 16, 64),
    whole_repetitions=1,
    whole_stored=5000,
    whole_slice_s=0.4,
    whole_per_s=30,
    whole_arrivals_s=1.5,
    whole_polled=500,
    whole_running=1000,
    whole_streams=5000,
)


@dataclass
class Run:
    """One run of the benchmark.

    Attributes:
        rows: results, one per target.
        web_port: port of the bare Flask application.
        relay_port: port of the bare relay.
        extra_figures: figures that are not rows, by description.
        cpu_us: processor time per request in microseconds, by request and process.
        durations_s: duration of each measure in seconds, by name.
        failed_measures: names of the measures that failed.
        curves: points for the plots, by curve and series.
        reuse_floors: whether each floor is measured only once, and its figure is reused.
        preparation_s: seconds spent so far on work that is done only once per run.
    """

    sizes: Sizes
    machine: Machine
    deployment: Deployment
    web_port: int
    relay_port: int
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
        figure = row.as_json()
        self.print_line(f"  {row.name}: {figure['ratio']} {figure['unit']} ({'met' if row.is_met else 'missed'})")

    def note_cpu(self, name: str, repetitions: Sequence[Mapping[str, float]]) -> None:
        """Record the processor time per request of each process, as the median of the repetitions."""
        processes = sorted({process for costs in repetitions for process in costs})
        self.cpu_us[name] = {
            process: round(median(costs.get(process, 0) for costs in repetitions)) for process in processes
        }

    def prepare_once(self, name: str, create: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """Enter a new context manager on the first call for a name; later calls return the same value until `close`.

        Use it for expensive preparations.
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

    def floor(self, name: str, measure: Callable[[], T]) -> Callable[[], T]:
        """Return a function that measures a floor on every call, or only once if `reuse_floors` is set."""
        if not self.reuse_floors:
            return measure
        return lambda: self.prepare_once(f"floor: {name}", lambda: contextlib.nullcontext(measure()))

    def interleave(self, *, times: int | None = None, **measures: Callable[[], T]) -> dict[str, list[T]]:
        """Call the measures in turn, repeat this `times` times (default: `repetitions`), and return all results."""
        results: dict[str, list[T]] = {name: [] for name in measures}
        for _ in range(times or self.sizes.repetitions):
            for name, measure in measures.items():
                results[name].append(measure())
        return results

    def requests(
        self, port: int, payloads: list[str], connections: int, pids: Mapping[str, int], *, seconds: float | None = None
    ) -> Slice:
        """Run one slice of requests; return its figures and the processor time per request in microseconds."""
        sizes = self.sizes
        spec = load.Requests(port, payloads, connections, seconds=seconds or sizes.slice_s, warm_s=sizes.warm_s)
        with cpu.measure_cpu_time(pids) as cpu_time:
            figures = load.run(spec)
        # `count` excludes the requests of the warm-up, which also use processor time. Estimate their number.
        total_count = figures.count * (1 + spec.warm_s / spec.seconds)
        generator_us = round(1e6 * figures.cpu_s / total_count)
        costs_us = cpu_time.per_request_us(round(total_count)) | {"load generator": generator_us}
        return figures, costs_us

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
# Figures of the requests, and processor time per request in microseconds by process.
Slice = tuple[load.Figures, dict[str, float]]


@dataclass(frozen=True)
class Sizes:
    """The sizes of all measurements.

    Args:
        repetitions: repetitions of each pair of floor and path; figures are medians.
        long_repetitions: repetitions of measurements that take long.
        slice_s: seconds of one measurement of requests per second.
        warm_s: unmeasured seconds before each such measurement.
        levels: numbers of concurrent connections, for latency against load.
        tasks: no-op tasks in one drain of the queue.
        completions: responses in one drain of the queue.
        trips: round trips in one measurement of a latency.
        many: concurrent responses of `many at once`.
        many_s: seconds that each of these takes.
        streams: streams that are relayed concurrently.
        stream_tokens: tokens of each of these.
        stored: numbers of stored responses at which growth is measured; the first one is the floor.
        waiting: length of the long queue.
        submitted: waiting responses whose memory is measured.
        running: running responses whose memory is measured.
        idle_streams: streams of running responses whose memory is measured.
        processes: numbers of workers, or of API processes, for the curve `scale`.
        whole_clients: concurrent clients of the mixed load whose processor time is measured.
        whole_repetitions: repetitions of each measurement of the complete system; its memory is measured once.
        whole_stored: ended responses that the complete system stores throughout.
        whole_slice_s: seconds of one slice of mixed load on the complete system.
        whole_per_s: responses per second with open arrival.
        whole_arrivals_s: seconds of open arrival.
        whole_polled: responses that run while they are polled.
        whole_running: responses that run while memory is measured.
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
        beside: additional figures that are not rows, by description.
        cpu_us: processor time per request in microseconds, by request and process.
        took_s: duration of each measure in seconds, by name.
        failed: names of the measures that failed.
        curves: points for the plots, by curve and series.
        floors_once: measure each floor only once and reuse its figure.
        once_s: seconds spent so far on work that is done only once per run.
    """

    sizes: Sizes
    machine: Machine
    deployment: Deployment
    web_port: int
    relay_port: int
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    beside: dict[str, object] = field(default_factory=dict)
    cpu_us: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    curves: dict[str, dict[str, list[tuple[float, ...]]]] = field(default_factory=dict)
    took_s: dict[str, int] = field(default_factory=dict)
    floors_once: bool = False
    once_s: float = 0
    _kept: dict[str, Any] = field(default_factory=dict)
    _opened: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def add(self, row: Row) -> None:
        """Add a row and print its figure."""
        self.rows.append(row)
        figure = row.as_json()
        self.say(f"  {row.name}: {figure['ratio']} {figure['unit']} ({'met' if row.met else 'missed'})")

    def note_cpu(self, name: str, each: Sequence[Mapping[str, float]]) -> None:
        """Record the processor time per request of each process, as the median of the repetitions."""
        processes = sorted({process for one in each for process in one})
        self.cpu_us[name] = {process: round(median(one.get(process, 0) for one in each)) for process in processes}

    def once(self, name: str, make: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """Enter the context manager of `make` on the first call, and return its value on every call until `close`.

        Used for expensive preparations.
        """
        if name not in self._kept:
            began_at = time.monotonic()
            self._kept[name] = self._opened.enter_context(make())
            self.once_s += time.monotonic() - began_at
        kept: T = self._kept[name]
        return kept

    def close(self) -> None:
        """Exit all context managers that `once` entered."""
        self._kept.clear()
        self._opened.close()

    def floor(self, name: str, measure: Callable[[], T]) -> Callable[[], T]:
        """A floor for `interleaved`: measured on every call, or only once if `floors_once` is set."""
        if not self.floors_once:
            return measure
        return lambda: self.once(f"floor: {name}", lambda: contextlib.nullcontext(measure()))

    def interleaved(self, *, times: int | None = None, **measures: Callable[[], T]) -> dict[str, list[T]]:
        """Call the measures in turn, repeat that `times` times (default: `repetitions`), and return all results."""
        found: dict[str, list[T]] = {name: [] for name in measures}
        for _ in range(times or self.sizes.repetitions):
            for name, measure in measures.items():
                found[name].append(measure())
        return found

    def requests(
        self, port: int, payloads: list[str], connections: int, pids: Mapping[str, int], *, seconds: float | None = None
    ) -> Slice:
        """Run one slice of requests; return its figures and the processor time per request in microseconds."""
        sizes = self.sizes
        spec = load.Requests(port, payloads, connections, seconds=seconds or sizes.slice_s, warm_s=sizes.warm_s)
        with cpu.spending(pids) as spent:
            figures = load.run(spec)
        # Warm-up requests use processor time but are not counted. Estimate their number from their share of the time.
        whole = figures.count * (1 + spec.warm_s / spec.seconds)
        each = spent.each_us(round(whole)) | {"load generator": round(1e6 * figures.cpu_s / whole)}
        return figures, each

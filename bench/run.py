"""What the rows of one run share: how large it is, what it runs on, and what it found besides rows."""

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
# Figures of requests, and the processor time of each in microseconds by process.
Slice = tuple[load.Figures, dict[str, float]]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        repetitions: of each pair of floor and path; figures are the medians.
        long_repetitions: of those that take long.
        slice_s: of one measurement of requests per second.
        warm_s: before each, unmeasured.
        levels: connections at once, for latency against load.
        tasks: that do nothing, in one drain.
        completions: in one drain.
        trips: of one measurement of a latency.
        many: responses at once,
        many_s: and how long each takes.
        stream_tokens: of each of `streams` relayed at once.
        stored: how many responses there are when growth is measured; the first is the floor.
        waiting: how many are in the queue when it is long.
        submitted: how many wait, when it is measured what one holds,
        running: how many run,
        idle_streams: and how many of them are followed.
        processes: of the worker, or of the API, when it is measured what more of them bring.
        whole_clients: at once, of the mixed load whose processor time is measured.
        whole_repetitions: of each measurement of the whole system; its memory is measured once.
        whole_stored: finished responses that it holds all the time.
        whole_slice_s: of one slice of mixed load on the whole system.
        whole_per_s: responses that begin in a second with open arrival,
        whole_arrivals_s: and for how long.
        whole_polled: how many responses run while they are polled.
        whole_running: how many run when memory is measured.
        whole_streams: the most streams that are opened.
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
        rows: by the targets they are of.
        web_port: of the bare Flask application.
        relay_port: of the bare relay.
        beside: other figures, in words, that say what the rows cannot.
        cpu_us: processor time of one request each, by process.
        took_s: seconds that each measure took, by its name.
        failed: measures that came to no end.
        curves: for the plots: of each, points by series.
        floors_once: whether a floor is measured the first time only and that figure used from then on.
        once_s: seconds spent so far on what is done only the first time.
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
        """Add a row, and say what it says."""
        self.rows.append(row)
        figure = row.as_json()
        self.say(f"  {row.name}: {figure['ratio']} {figure['unit']} ({'met' if row.met else 'missed'})")

    def note_cpu(self, name: str, each: Sequence[Mapping[str, float]]) -> None:
        """Note what one request costs each process, from repetitions."""
        processes = sorted({process for one in each for process in one})
        self.cpu_us[name] = {process: round(median(one.get(process, 0) for one in each)) for process in processes}

    def once(self, name: str, make: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """What `make` gives, entered the first time and kept until `close`: for preparations that take long."""
        if name not in self._kept:
            began_at = time.monotonic()
            self._kept[name] = self._opened.enter_context(make())
            self.once_s += time.monotonic() - began_at
        kept: T = self._kept[name]
        return kept

    def close(self) -> None:
        """Close what `once` keeps."""
        self._kept.clear()
        self._opened.close()

    def floor(self, name: str, measure: Callable[[], T]) -> Callable[[], T]:
        """A floor for `interleaved`: measured each time, or once if the run asks for that."""
        if not self.floors_once:
            return measure
        return lambda: self.once(f"floor: {name}", lambda: contextlib.nullcontext(measure()))

    def interleaved(self, *, times: int | None = None, **measures: Callable[[], T]) -> dict[str, list[T]]:
        """What each measure finds, each measured in turn, as often as there are repetitions."""
        found: dict[str, list[T]] = {name: [] for name in measures}
        for _ in range(times or self.sizes.repetitions):
            for name, measure in measures.items():
                found[name].append(measure())
        return found

    def requests(
        self, port: int, payloads: list[str], connections: int, pids: Mapping[str, int], *, seconds: float | None = None
    ) -> Slice:
        """One slice of requests, and the processor time of each, in microseconds by process."""
        sizes = self.sizes
        spec = load.Requests(port, payloads, connections, seconds=seconds or sizes.slice_s, warm_s=sizes.warm_s)
        with cpu.spending(pids) as spent:
            figures = load.run(spec)
        # The warm requests cost, too, and are not counted: their share is that of their time.
        whole = figures.count * (1 + spec.warm_s / spec.seconds)
        each = spent.each_us(round(whole)) | {"load generator": round(1e6 * figures.cpu_s / whole)}
        return figures, each

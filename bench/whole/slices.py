"""Runs slices of load on the complete system and measures the processor time of each part per response."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import cpu, shapes
from bench.load import mixes, wire
from bench.load.mixes import Kind, Mix, MixFigures, Turn
from bench.run import Run
from bench.whole.config import Project
from bench.whole.system import System

_TEXT = "Say something about the weather in a few words. " * 8
# Half of the responses run in the background.
MIXED: tuple[Kind, ...] = (
    "background",
    "foreground",
    "background",
    "stream",
    "background",
    "foreground",
    "background",
    "cancel",
)


@dataclass(frozen=True)
class Slice:
    """The result of one slice.

    Args:
        ms: processor time per response in milliseconds, by part of the system.
        tools_ms: the same for the model server and the load generator, which are not parts of the system.
    """

    figures: MixFigures
    ms: dict[str, float]
    tools_ms: dict[str, float]

    @property
    def total_ms(self) -> float:
        """Processor time of all parts per response, in milliseconds."""
        return sum(self.ms.values())

    @property
    def all_us(self) -> dict[str, float]:
        """Processor time per response in microseconds, by process."""
        return {name: 1000 * ms for name, ms in (self.ms | self.tools_ms).items()}


class Load:
    """Load on the system by the clients of one project.

    Args:
        kinds: kinds of responses that the clients create, in turn.
    """

    def __init__(self, run: Run, system: System, project: Project, kinds: Sequence[Kind] = MIXED) -> None:
        self._run = run
        self._system = system
        self._key = system.keys[project.name]
        self._turns = [Turn(kind, self._create_request(project, kind)) for kind in kinds]

    def _create_request(self, project: Project, kind: Kind) -> str:
        body = {
            "model": project.hanging_model if kind == "cancel" else project.model,
            "input": _TEXT,
            "background": kind in {"background", "cancel"},
            "stream": kind == "stream",
        }
        return wire.post_request("/v1/responses", body, self._key)

    def run_closed(self, clients: int, seconds: float | None = None) -> Slice:
        """Run a slice with clients that have one response in progress each; its default duration is that of the run."""
        return self._run_slice(seconds or self._run.sizes.whole_slice_s, clients=clients)

    def run_open(self, per_s: float, seconds: float) -> Slice:
        """Run a slice in which responses begin at a fixed rate."""
        return self._run_slice(seconds, rate_per_s=per_s)

    def _run_slice(self, seconds: float, *, clients: int = 0, rate_per_s: float = 0) -> Slice:
        system, models = self._system, self._run.machine.pids["models"]
        mix = Mix(system.port, self._key, self._turns, shapes.MARK, seconds, clients=clients, rate_per_s=rate_per_s)
        with cpu.measure_cpu_time(system.pids | {"models": models}) as cpu_time:
            figures = mixes.run(mix)
        costs_ms = {name: 1000 * cpu_s / figures.response_count for name, cpu_s in cpu_time.seconds.items()}
        generator_ms = 1000 * figures.cpu_s / figures.response_count
        tool_costs_ms = {"models": costs_ms.pop("models"), "load generator": generator_ms}
        return Slice(figures, costs_ms, tool_costs_ms)


def describe_latencies(slices: Sequence[Slice]) -> str:
    """Describe the p50 and p99 of each latency in milliseconds, as medians over the slices."""

    def median_ms(name: str, share: float) -> float:
        return median(result.figures.latency_ms(name, share) for result in slices)

    names = slices[0].figures.latencies_ms
    return ", ".join(f"{name} {median_ms(name, 0.5):.0f} {median_ms(name, 0.99):.0f}" for name in names)

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
# Kinds of responses in a mix; half of them run in the background.
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
class LoadSlice:
    """The result of one slice of load on the system.

    Args:
        costs_ms: processor time per response in milliseconds, by part of the system.
        tool_costs_ms: processor time per response of the model server and of the load generator, in milliseconds.
    """

    figures: MixFigures
    costs_ms: dict[str, float]
    tool_costs_ms: dict[str, float]

    @property
    def total_ms(self) -> float:
        """Processor time of all parts per response, in milliseconds."""
        return sum(self.costs_ms.values())

    @property
    def all_us(self) -> dict[str, float]:
        """Processor time per response in microseconds, by part and tool."""
        return {name: 1000 * ms for name, ms in (self.costs_ms | self.tool_costs_ms).items()}


class ProjectLoad:
    """Runs load on the system by clients of one project.

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

    def run_closed(self, clients: int, seconds: float | None = None) -> LoadSlice:
        """Run a slice with clients that have one response in progress each; `seconds` is by default `whole_slice_s`."""
        return self._run_slice(seconds or self._run.sizes.whole_slice_s, clients=clients)

    def run_open(self, per_s: float, seconds: float) -> LoadSlice:
        """Run a slice in which responses begin at a fixed rate."""
        return self._run_slice(seconds, rate_per_s=per_s)

    def _run_slice(self, seconds: float, *, clients: int = 0, rate_per_s: float = 0) -> LoadSlice:
        system, model_server_pid = self._system, self._run.servers.pids["model_server"]
        mix = Mix(system.port, self._key, self._turns, shapes.MARKER, seconds, clients=clients, rate_per_s=rate_per_s)
        with cpu.measure_cpu_time(system.pids | {"model_server": model_server_pid}) as cpu_time:
            figures = mixes.run(mix)
        costs_ms = {name: 1000 * cpu_s / figures.response_count for name, cpu_s in cpu_time.seconds.items()}
        generator_ms = 1000 * figures.cpu_s / figures.response_count
        tool_costs_ms = {"model_server": costs_ms.pop("model_server"), "load generator": generator_ms}
        return LoadSlice(figures, costs_ms, tool_costs_ms)


def describe_latencies(slices: Sequence[LoadSlice]) -> str:
    """Describe the p50 and p99 of each latency in milliseconds, as medians over the slices."""

    def median_ms(name: str, share: float) -> float:
        return median(result.figures.latency_ms(name, share) for result in slices)

    names = slices[0].figures.latencies_ms
    return ", ".join(f"{name} {median_ms(name, 0.5):.0f} {median_ms(name, 0.99):.0f}" for name in names)

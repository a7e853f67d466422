"""The load generator: a process of its own that makes requests over raw sockets and says how long each took."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load.generator import GENERATOR

# A run that has not ended so long after its own time is stuck.
_LATE_S = 120


@dataclass(frozen=True)
class Requests:
    """A closed loop: each connection is kept, and has one request under way.

    Args:
        payloads: whole HTTP requests, sent in turn, round and round.
        connections: how many at once.
        seconds: for how long it is measured.
        count: or how many requests are made, if that comes first; 0 is no limit.
        warm_s: before that, unmeasured.
    """

    port: int
    payloads: list[str]
    connections: int
    seconds: float = 60
    count: int = 0
    warm_s: float = 0
    kind: str = field(default="requests", init=False)


@dataclass(frozen=True)
class Streams:
    """A closed loop of answers that come in pieces, each over a connection of its own.

    Args:
        payloads: whole HTTP requests, each made once.
        connections: how many at once.
        marker: is in the answer once a token.
        end: is in the answer once, when it is whole.
        seconds: after that nothing more is waited for, and what has not ended is an error.
    """

    port: int
    payloads: list[str]
    connections: int
    marker: str
    end: str
    seconds: float = 60
    kind: str = field(default="streams", init=False)


@dataclass(frozen=True)
class Figures:
    """What a run came to.

    Args:
        count: answers that were whole and of status 200.
        errors: the others, by what was wrong.
        seconds: that the answers took together.
        latencies_ms: of each, sorted: of streams up to the first token.
        tokens: in all streams.
        cpu_s: of the load generator itself.
    """

    count: int
    errors: dict[str, int]
    seconds: float
    latencies_ms: list[float]
    tokens: int
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def p50_ms(self) -> float:
        return percentile(self.latencies_ms, 0.50)

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies_ms, 0.99)


class Failed(Exception):
    """A run had answers that were errors, so that its figures say nothing."""


def run(spec: Requests | Streams) -> Figures:
    """Make the requests in a process that does nothing else.

    Raises:
        Failed: not all answers were good, or the generator itself failed.
    """
    figures = Figures(**generate(asdict(spec), spec.seconds))
    if figures.errors or not figures.count:
        raise Failed(f"{figures.count} good answers, and of the others: {figures.errors}")
    return figures


def generate(spec: Mapping[str, object], seconds: float) -> dict[str, Any]:
    """The figures that a load generator process writes for a load, by the names of their dataclass.

    Raises:
        Failed: the generator itself failed.
    """
    figures = GENERATOR.run(spec, seconds + _LATE_S)
    if figures is None:
        raise Failed("The load generator ended.")
    return figures


def percentile(ordered: list[float], share: float) -> float:
    """The value of sorted values below which this share of them lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

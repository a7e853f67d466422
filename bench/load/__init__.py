"""Runs loads in the load generator, a separate process that sends requests over raw sockets and measures latencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load.generator import GENERATOR

# The load generator is killed if it has not returned the figures of a load this long after its scheduled end.
_GRACE_S = 120


@dataclass(frozen=True)
class Requests:
    """Non-streamed requests over persistent connections; each connection sends its next request after each response.

    Args:
        payloads: complete HTTP requests, sent in order and repeatedly. `{unique}` in a header is replaced with text
            that differs in every request.
        connections: number of concurrent connections.
        seconds: duration of the measurement.
        count: number of requests after which the measurement ends early; 0 for no limit.
        warm_up_s: unmeasured warm-up before the measurement, in seconds.
    """

    port: int
    payloads: list[str]
    connections: int
    seconds: float = 60
    count: int = 0
    warm_up_s: float = 0
    kind: str = field(default="requests", init=False)


@dataclass(frozen=True)
class Streams:
    """Requests with streamed responses, each over its own connection; when a stream ends, the next stream starts.

    Args:
        payloads: complete HTTP requests, each sent once.
        connections: number of concurrent connections.
        marker: text that occurs in each token exactly once.
        end: text that occurs only at the end of a complete response.
        seconds: timeout; streams that have not ended after this time are errors.
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
    """The result of a load.

    Args:
        count: number of complete responses with status 200 or 304.
        errors: number of all other responses, by kind of error.
        seconds: duration from the start of the measurement to the last response.
        latencies_ms: sorted latencies; for streams, the time to the first token.
        tokens: number of tokens in all streams.
        cpu_s: processor time of the load generator itself.
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


class LoadError(Exception):
    """A load had errors, or did not run as the measurement requires, so its figures are invalid."""


def run(spec: Requests | Streams) -> Figures:
    """Send the requests from the load generator process.

    Raises:
        LoadError: a response was an error, there was no response, or the load generator itself failed.
    """
    figures = Figures(**run_in_generator(asdict(spec), spec.seconds))
    if figures.errors or not figures.count:
        raise LoadError(f"{figures.count} successful responses; errors: {figures.errors}")
    return figures


def run_in_generator(spec: Mapping[str, object], seconds: float) -> dict[str, Any]:
    """Run a load in the load generator process; return the fields of its `Figures` or `MixFigures` as a dict.

    Raises:
        LoadError: the load generator itself failed.
    """
    figures = GENERATOR.run(spec, seconds + _GRACE_S)
    if figures is None:
        raise LoadError("The load generator exited unexpectedly.")
    return figures


def percentile(sorted_values: list[float], share: float) -> float:
    """Return the quantile of sorted values for a share between 0 and 1, without interpolation; 0.0 without values."""
    if not sorted_values:
        return 0.0
    index = int(len(sorted_values) * share)
    return sorted_values[min(index, len(sorted_values) - 1)]

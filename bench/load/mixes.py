"""The specification and the result of a mix: a load by clients that create responses and follow each to its end."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from bench import load

Kind = Literal["background", "foreground", "stream", "cancel"]


@dataclass(frozen=True)
class Turn:
    """The actions of a client for one response.

    Args:
        kind: `background`: create, then poll until it is completed. `foreground`: create, and wait for the result.
            `stream`: create, and read the events. `cancel`: create, poll until it is in progress, cancel.
        payload: the create request, as a complete HTTP request.
    """

    kind: Kind
    payload: str


@dataclass(frozen=True)
class Mix:
    """A load by clients that run the turns in order, repeatedly, for `seconds` seconds.

    The last round through the turns is always completed, so that even a short load has the same share of each kind.

    Either `clients` or `rate_per_s` is set. With `clients`, the load is a closed loop: each client begins its next turn
    when its previous one has ended. With `rate_per_s`, it is an open loop: turns begin at fixed times, regardless of
    the turns in progress, and latencies are measured from the scheduled time, so that they include a late start (no
    coordinated omission).

    Args:
        key: API key of the poll and cancel requests.
        marker: text that occurs in each token exactly once.
        clients: number of concurrent clients.
        rate_per_s: number of turns that begin per second.
        kind: identifies the load as a mix for the load generator; not a kind of turn.
    """

    port: int
    key: str
    turns: list[Turn]
    marker: str
    seconds: float
    clients: int = 0
    rate_per_s: float = 0
    kind: str = field(default="mix", init=False)


@dataclass(frozen=True)
class MixFigures:
    """The result of a mix.

    Args:
        turns: number of turns that ended as expected, by kind.
        polls: number of polls in all turns.
        errors: number of failed turns, by kind and error message.
        seconds: duration from the first start to the last end.
        latencies_ms: sorted latencies by name. `cancel` begins with the cancel request and ends with its HTTP response.
            All other latencies begin with the create request. `background` ends with the poll that returns the
            completed response; `foreground` and `stream` end with the HTTP response; `create` ends with the HTTP
            response to the create request of a background response; `first event` and `first token` end with the first
            event and the first token of a stream.
        tokens: number of tokens in all streams.
        cpu_s: processor time of the load generator itself.
    """

    turns: dict[str, int]
    polls: int
    errors: dict[str, int]
    seconds: float
    latencies_ms: dict[str, list[float]]
    tokens: int
    cpu_s: float

    @property
    def response_count(self) -> int:
        return sum(self.turns.values())

    @property
    def responses_per_s(self) -> float:
        return self.response_count / self.seconds if self.seconds else 0.0

    def latency_ms(self, name: str, share: float) -> float:
        """Return the quantile of a latency in milliseconds for a share between 0 and 1.

        Raises:
            load.LoadError: the mix has no such latency.
        """
        if not self.latencies_ms.get(name):
            raise load.LoadError(f"The mix has no latency '{name}'.")
        return load.percentile(self.latencies_ms[name], share)


def run(mix: Mix) -> MixFigures:
    """Run the mix in the load generator process.

    Raises:
        load.LoadError: a turn failed, no turn ended as expected, or the load generator itself failed.
    """
    figures = MixFigures(**load.run_in_generator(asdict(mix), mix.seconds))
    if figures.errors or not figures.response_count:
        raise load.LoadError(f"{figures.response_count} responses ended as expected; errors: {figures.errors}")
    return figures

"""A mix of what clients do, from the create to the end of each response: what to run, and what it came to."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from bench import load

Kind = Literal["background", "foreground", "stream", "cancel"]


@dataclass(frozen=True)
class Turn:
    """What a client does with one response.

    Args:
        kind: `background`: create, then poll until it is completed. `foreground`: create, and wait for the answer.
            `stream`: create, and read the events. `cancel`: create, poll until it is in progress, cancel.
        payload: the create, a whole HTTP request.
    """

    kind: Kind
    payload: str


@dataclass(frozen=True)
class Mix:
    """Clients that take turns, in order and round and round, until `seconds` are over; then each ends its last one.

    The last round is completed, so that every kind has its share also where few turns are taken.

    Either `clients` or `rate_per_s` is given. With `clients`, arrival is closed: so many clients, each with one turn
    under way. With `rate_per_s`, arrival is open: turns begin at fixed instants, whatever is still under way, and
    latencies count from the scheduled instant, so that a late start counts as latency (no coordinated omission).

    Args:
        key: API key for polls and cancels.
        marker: in an answer once a token.
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
    """What a mix came to.

    Args:
        turns: responses that came to the expected end, by kind.
        polls: GETs of all turns together.
        errors: turns that failed, by what was wrong.
        seconds: from the first start to the last end.
        latencies_ms: sorted. `background`: from the create to the poll that saw the end, `foreground` and `stream`: to
            the end of the answer, `create`: to the answer of a background create, `first event` and `first token`: of
            streams, `cancel`: from the cancel to its answer.
        tokens: markers in all streams.
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
    def responses(self) -> int:
        return sum(self.turns.values())

    @property
    def per_s(self) -> float:
        return self.responses / self.seconds if self.seconds else 0.0

    def ms(self, latency: str, share: float) -> float:
        """The latency below which this share of all lies.

        Raises:
            load.Failed: there is no such latency.
        """
        if not self.latencies_ms.get(latency):
            raise load.Failed(f"The mix has no latency '{latency}'.")
        return load.percentile(self.latencies_ms[latency], share)


def run(mix: Mix) -> MixFigures:
    """Run the mix in a load generator process.

    Raises:
        load.Failed: a turn failed, there was none, or the generator itself failed.
    """
    figures = MixFigures(**load.generate(asdict(mix), mix.seconds))
    if figures.errors or not figures.responses:
        raise load.Failed(f"{figures.responses} responses ended well, and of the others: {figures.errors}")
    return figures

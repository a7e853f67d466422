"""The protocol of sessions: `make compare` sends names of measures, the session sends JSON objects, one per line."""

from dataclasses import dataclass

# Incremented on every incompatible change.
PROTOCOL = 1


@dataclass(frozen=True)
class Greeting:
    """The first line that a session sends, when its servers are ready.

    Args:
        measures: names of the available measures, in the order of their execution.
        left_out: for each measure of the benchmark that this session does not offer, the reason.
        sizes: sizes of the measurements; figures of two sessions are comparable only if the sizes are equal.
    """

    protocol: int
    measures: list[str]
    left_out: dict[str, str]
    sizes: dict[str, int | float | list[int]]


@dataclass(frozen=True)
class Figure:
    """The figure of one benchmark row in one measurement.

    Args:
        value: the measured quantity, not its ratio to a floor.
        ratio: the figure that `make bench` compares with the target; None if the row has no target.
        floor: the floor that the ratio refers to, measured once per session; None if there is no floor.
    """

    name: str
    value: float
    unit: str
    higher_is_better: bool
    ratio: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The result of one repetition of a measure, sent in reply to its name.

    Args:
        seconds: total duration of the repetition.
        once_s: the part of `seconds` spent on preparations and floors that later repetitions reuse.
        error: the reason why there are no figures; empty on success.
    """

    measure: str
    seconds: float
    once_s: float
    figures: list[Figure]
    error: str = ""

    @property
    def repetition_s(self) -> float:
        """Expected duration of the next repetition, in seconds."""
        return self.seconds - self.once_s

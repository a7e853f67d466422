"""What a session and its driver send each other: the driver a measure's name, the session a JSON object, per line."""

from dataclasses import dataclass

# Raised when an older driver or session would misread the other.
PROTOCOL = 1


@dataclass(frozen=True)
class Greeting:
    """The first line of a session, sent when its servers are ready.

    Args:
        measures: names that may be asked for, in the order to ask for them.
        left_out: measures of the benchmark that this session does not offer, with the reason.
        sizes: how much is measured; figures of two sessions are comparable only where these agree.
    """

    protocol: int
    measures: list[str]
    left_out: dict[str, str]
    sizes: dict[str, int | float | list[int]]


@dataclass(frozen=True)
class Figure:
    """One row of one measurement.

    Args:
        value: the measured quantity, not its ratio to a floor.
        ratio: what `make bench` holds against the target; None where the row has no target.
        floor: what the ratio refers to, measured once a session; None where there is none.
    """

    name: str
    value: float
    unit: str
    higher_is_better: bool
    ratio: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The answer to a measure's name: one repetition.

    Args:
        seconds: it took, all in all.
        once_s: of these, spent on preparations and floors that the next measurement will not repeat.
        error: why there are no figures; empty if there are.
    """

    measure: str
    seconds: float
    once_s: float
    figures: list[Figure]
    error: str = ""

    @property
    def again_s(self) -> float:
        """Seconds that the next measurement will take."""
        return self.seconds - self.once_s

"""Credits as values: what is taken, what is left, what is to be settled."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a create takes of its project's credits."""

    requests: int
    tokens: int


NOTHING = Cost(0, 0)


@dataclass(frozen=True)
class Meter:
    """One limit a minute.

    Args:
        left: what may be used at once; below zero where more was used than had been expected.
        full_s: seconds until all of it is there again, if nothing is used meanwhile.
    """

    limit: int
    left: float
    full_s: float


@dataclass(frozen=True)
class Allowance:
    """The limits of a project for a model, as a create found them; None where there is none.

    Args:
        over: the create was beyond them, and was taken from spare capacity.
    """

    requests: Meter | None = None
    tokens: Meter | None = None
    over: bool = False


@dataclass(frozen=True)
class Settlement:
    """A response that ended: what its project was charged for it, and what it really used; in tokens."""

    response_id: str
    project_id: str
    project: str
    model: str
    charged: int
    used: int

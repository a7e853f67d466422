"""Value types for credits: costs, allowances and settlements."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The credits that a create request takes from its project's token bucket."""

    requests: int
    tokens: int


NO_COST = Cost(0, 0)


@dataclass(frozen=True)
class Meter:
    """The state of one per-minute limit.

    Args:
        remaining: the amount available now; negative if responses used more than was estimated.
        refill_s: seconds until the bucket is full again, if no more credits are taken from it.
    """

    limit: int
    remaining: float
    refill_s: float


@dataclass(frozen=True)
class Allowance:
    """A project's limits for a model at the time of a create request; None for a limit that is not configured.

    Args:
        over_limit: whether the request exceeded the limits and was admitted to unused capacity.
    """

    requests: Meter | None = None
    tokens: Meter | None = None
    over_limit: bool = False


@dataclass(frozen=True)
class Settlement:
    """The tokens charged to the project for an ended response, and the tokens that the response used.

    Args:
        project: the name of the project.
    """

    response_id: str
    project_id: str
    project: str
    model: str
    charged: int
    used: int

"""Value types for the input and the result of the fair choice."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class CandidateGroup(NamedTuple):
    """Key of a group of waiting responses to which the same limits apply: each limit holds back all of them or none."""

    lane: str
    tier: str
    project_id: str
    model: str


class Candidate(NamedTuple):
    """A waiting response; candidates sort in the dispatch order of their project.

    Args:
        background: False sorts first, because a client is connected and waits.
        due: Unix seconds; for `flex` the deadline, for other tiers the time from which the response may run.
    """

    background: bool
    due: float
    id: str


@dataclass(frozen=True)
class Served:
    """The time at which a project was last served in a tier, and the charge of the tier at that time.

    Args:
        charged: the sum of 1 / weight over all turns of the tier.
        at: seconds on an arbitrary clock that increases with time.
    """

    charged: float
    at: float


@dataclass(frozen=True)
class Situation:
    """The input of a choice other than the candidates.

    Args:
        weights: the weight of every tier; a tier gets turns in proportion to its weight.
        last_served: by tier and project; missing pairs were served long ago or never.
        running: number of responses that run or were dispatched, by tier and project.
        just_ran: tiers and projects of responses that have just ended.
        model_capacity: number of responses that each model may still take; a model without an entry is unlimited.
        project_capacity: the same by project ID and model.
        reserve: the fraction of a lane's slots that `over-limit` responses leave free.
    """

    weights: Mapping[str, float]
    last_served: Mapping[tuple[str, str], Served] = field(default_factory=dict)
    running: Mapping[tuple[str, str], int] = field(default_factory=dict)
    just_ran: Collection[tuple[str, str]] = ()
    model_capacity: Mapping[str, int] = field(default_factory=dict)
    project_capacity: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reserve: float = 0.0


class Choice(NamedTuple):
    """A response to dispatch.

    Args:
        charged: the charge of its tier after this turn.
    """

    group: CandidateGroup
    id: str
    charged: float

"""The input and the result of a fair choice, as values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class CandidateGroup(NamedTuple):
    """Waiting responses that any limit holds back all together, or not at all."""

    lane: str
    tier: str
    project_id: str
    model: str


class Candidate(NamedTuple):
    """A waiting response, ordered as its project wants its responses to run.

    Args:
        background: False sorts first: a client is connected and waits.
        due: seconds; for `flex` the deadline, for other tiers the time from which it may run.
    """

    background: bool
    due: float
    id: str


@dataclass(frozen=True)
class Served:
    """When a project was last served in a tier, and what the tier had been charged by then.

    Args:
        charged: the sum of 1 / weight over the tier's turns.
        at: seconds; the greater, the later.
    """

    charged: float
    at: float


@dataclass(frozen=True)
class Situation:
    """What a choice depends on besides the candidates.

    Args:
        weights: of every tier; a tier gets turns in proportion to its weight.
        last_served: by tier and project; those that are missing were served long ago, if ever.
        running: responses that run or were dispatched, by tier and project.
        just_ran: tiers and projects whose responses just ended.
        model_capacity: responses a model may still take; a model without an entry has no limit.
        project_capacity: the same for a project's ID and a model.
        reserve: the part of a lane's slots that `over-limit` leaves free.
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
        charged: what its tier has been charged once it has had this turn.
    """

    group: CandidateGroup
    id: str
    charged: float

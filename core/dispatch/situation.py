"""Value types for the input and the result of `fair_share`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class CandidateGroup(NamedTuple):
    """Key of a group of waiting responses to which the same limits apply."""

    lane: str
    tier: str
    project_id: str
    model: str


class Candidate(NamedTuple):
    """A waiting response; candidates sort in the dispatch order of their project.

    Args:
        background: False sorts first, because a connected client waits for the response.
        due: Unix seconds; for `flex` the deadline, for other tiers the time from which the response may run.
    """

    background: bool
    due: float
    id: str


@dataclass(frozen=True)
class ServiceRecord:
    """The time of a project's last turn in a tier, and the charge of the tier after that turn.

    Args:
        tier_charge: the sum of 1 / weight over all turns of the tier.
        at: seconds since an arbitrary origin, the same for all records and snapshots.
    """

    tier_charge: float
    at: float


@dataclass(frozen=True)
class Situation:
    """The input of `fair_share` other than the candidates and the capacity.

    Args:
        weights: the weight of every tier; a tier gets turns in proportion to its weight.
        service_records: by tier and project; a pair without a record was served long ago or never.
        running_counts: number of running and dispatched responses, by tier and project.
        recent_ends: pairs of tier and project in which a response has just ended.
        model_capacity: number of further responses that each model may take; a model without an entry is unlimited.
        project_capacity: number of further responses by project ID and model; a pair without an entry is unlimited.
        reserve: the fraction of a lane's slots that `over-limit` responses must leave free.
    """

    weights: Mapping[str, float]
    service_records: Mapping[tuple[str, str], ServiceRecord] = field(default_factory=dict)
    running_counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    recent_ends: Collection[tuple[str, str]] = ()
    model_capacity: Mapping[str, int] = field(default_factory=dict)
    project_capacity: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reserve: float = 0.0


class Choice(NamedTuple):
    """A response to dispatch.

    Args:
        tier_charge: the charge of the response's tier after this turn.
    """

    group: CandidateGroup
    id: str
    tier_charge: float

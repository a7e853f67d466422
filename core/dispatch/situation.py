"""Value types for the input and the result of `fair_share`, and the rules of dispatch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from core.config.tiers import LANE, Tier


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


@dataclass(frozen=True)
class Rules:
    """The configuration of dispatch.

    Args:
        weights: the weight of each tier, by the name of the tier.
        known_models: the configured models. For other models, dispatch observes the limits that workers publish.
        model_caps: the maximum number of simultaneously running responses of each model, over all lanes.
        running_limits: the maximum number of simultaneously running responses of a model in a project, by project name
            and model name. Either name may be "*"; a pair with the project precedes one with the model. None means
            unlimited.
        lanes: the configured lanes, at most one per tier.
        reserve: the fraction of a lane's slots that over-limit responses must leave free.
        worker_seen_s: seconds for which a worker is considered live after it refreshed its registration.
    """

    weights: Mapping[str, float]
    model_caps: Mapping[str, int]
    known_models: frozenset[str] = frozenset()
    running_limits: Mapping[tuple[str, str], int | None] = field(default_factory=dict)
    lanes: tuple[str, ...] = (LANE,)
    reserve: float = 0.2
    worker_seen_s: float = 15

    def __post_init__(self) -> None:
        assert len(self.lanes) <= len(Tier)  # `lane_sets` has 2 ** (lanes + 1) - 1 elements

    def running_limit(self, project: str, model: str) -> int | None:
        """Return the maximum number of simultaneously running responses of a model in a project; None means unlimited.

        Args:
            project: the name of the project.
            model: the name of the model.
        """
        pairs = [(project, model), (project, "*"), ("*", model), ("*", "*")]
        return next((self.running_limits[pair] for pair in pairs if pair in self.running_limits), None)

    @property
    def lane_sets(self) -> list[str]:
        """Every non-empty set of lanes, as comma-separated names.

        The empty name represents all lanes that are not in this configuration.
        """
        names = (*self.lanes, "")
        return [",".join(lanes) for size in range(1, len(names) + 1) for lanes in combinations(names, size)]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of every statement that contains CAPACITY."""
        return {
            "lanes": list(self.lanes),
            "lane_sets": self.lane_sets,
            "limit_projects": [project for project, _ in self.running_limits],
            "limit_models": [model for _, model in self.running_limits],
            "limit_caps": list(self.running_limits.values()),
            "reserve": self.reserve,
            "worker_seen_s": self.worker_seen_s,
        }

"""The limits within which dispatch chooses responses, and the reasons why a response waits; no I/O."""

from enum import StrEnum

from core.config.tiers import Tier
from core.dispatch.capacity import Capacity
from core.dispatch.situation import CandidateGroup, Situation


class WaitReason(StrEnum):
    """Why a queued response does not run. Every reason except `dispatched` and `turn` prevents its dispatch."""

    DISPATCHED = "dispatched"
    NO_WORKER = "no_worker"
    LANE_UNSERVED = "lane_unserved"
    LANE_DRAINING = "lane_draining"
    MODEL_UNKNOWN = "model_unknown"
    BROKER_UNAVAILABLE = "broker_unavailable"
    CIRCUIT_OPEN = "circuit_open"
    NOT_DUE = "not_due"
    TIER_UNKNOWN = "tier_unknown"
    PROJECT_LIMIT = "project_limit"
    MODEL_CONCURRENCY = "model_concurrency"
    NO_FREE_SLOT = "no_free_slot"
    RESERVE = "reserve"
    TURN = "turn"


class Limits:
    """The remaining capacity of models, projects and lanes; it only decreases, with each call of `take`."""

    def __init__(self, situation: Situation, capacity: Capacity) -> None:
        self._tiers = frozenset(situation.weights)
        self._model_capacity = dict(situation.model_capacity)
        self._project_capacity = dict(situation.project_capacity)
        self._reserve = situation.reserve
        self._capacity = capacity

    def find_block(self, group: CandidateGroup) -> WaitReason | None:
        """Return the limit that keeps a due response of a group from running now; None if there is none.

        A tier is unknown, for example, after a downgrade.
        """
        if group.tier not in self._tiers:
            return WaitReason.TIER_UNKNOWN
        if self._project_capacity.get((group.project_id, group.model), 1) <= 0:
            return WaitReason.PROJECT_LIMIT
        if self._model_capacity.get(group.model, 1) <= 0:
            return WaitReason.MODEL_CONCURRENCY
        if not self._capacity.has_slot(group.lane, group.model):
            return WaitReason.NO_FREE_SLOT
        if group.tier == Tier.OVER_LIMIT and not self._has_spare_slot(group):
            return WaitReason.RESERVE
        return None

    def _has_spare_slot(self, group: CandidateGroup) -> bool:
        free_slots = self._capacity.free_slots(group.lane, group.model)
        return free_slots > self._capacity.reserve_size(group.lane, self._reserve)

    def take(self, group: CandidateGroup) -> None:
        """Take the capacity for one response of a group."""
        self._capacity.take_slot(group.lane, group.model)
        if group.model in self._model_capacity:
            self._model_capacity[group.model] -= 1
        if (group.project_id, group.model) in self._project_capacity:
            self._project_capacity[group.project_id, group.model] -= 1

"""Fair choice among waiting responses: by tier, then project, then age or deadline; a pure function.

docs/dispatch.md documents the rules for users. SQL only fetches the candidates and the capacity.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from math import ceil

from core.config.tiers import Tier
from core.dispatch.capacity import Capacity
from core.dispatch.queues import ProjectQueue, TierQueue
from core.dispatch.situation import Candidate, CandidateGroup, Choice, Situation


def fair_share(
    situation: Situation, capacity: Capacity, candidates: Mapping[CandidateGroup, Collection[Candidate]], most: int
) -> list[Choice]:
    """Choose up to `most` candidates to dispatch, in order.

    1. Each turn charges its tier 1 / weight, and the tier with the lowest charge after the turn is next. A tier that
       had nothing waiting accumulates at most one turn of credit. A tier that already occupies its share of all slots
       goes after those that do not.
    2. Within a tier, the project with the fewest running responses is next; among these, one whose response did not
       just end, then the one whose last turn is the longest ago.
    3. Within a project, foreground goes before background, then earlier before later.

    The result never exceeds `capacity` (from which slots are taken), `model_capacity` or `project_capacity`.
    Candidates that these hold back are skipped, and no tier or project is charged for them.
    """
    choosing = _Choosing(situation, capacity, candidates)
    chosen: list[Choice] = []
    while len(chosen) < most and (choice := choosing.next()) is not None:
        chosen.append(choice)
    return chosen


class _Choosing:
    """State of one choice. Capacity only shrinks during a choice, so a group that does not fit is dropped for good."""

    def __init__(
        self, situation: Situation, capacity: Capacity, candidates: Mapping[CandidateGroup, Collection[Candidate]]
    ) -> None:
        self._capacity = capacity
        self._model_capacity = dict(situation.model_capacity)
        self._project_capacity = dict(situation.project_capacity)
        self._reserve = situation.reserve
        self._weights = situation.weights
        self._running: Counter[str] = Counter()  # by project, over all tiers
        for (_, project_id), count in situation.running.items():
            self._running[project_id] += count
        queues: dict[str, dict[str, ProjectQueue]] = defaultdict(dict)
        for group, found in candidates.items():
            if found and self.fits(group):
                tier, project_id = group.tier, group.project_id
                served = situation.last_served.get((tier, project_id))
                queue = queues[tier].setdefault(
                    project_id,
                    ProjectQueue(
                        just_ran=(tier, project_id) in situation.just_ran,
                        served_at=served.at if served else float("-inf"),
                    ),
                )
                queue.add(group, found)
        self._tiers = _tier_queues(situation, capacity, queues)

    def next(self) -> Choice | None:
        """Make the next choice; return None if no remaining candidate fits."""
        while self._tiers:
            tier = min(self._tiers, key=TierQueue.order)
            found = tier.pop(self._running, self.fits)
            if found is None:
                self._tiers.remove(tier)
                continue
            group, response_id = found
            self._take(group)
            return Choice(group, response_id, tier.charge())
        return None

    def fits(self, group: CandidateGroup) -> bool:
        """Whether one more response of a group may run; False if its tier is unknown, for example after a downgrade."""
        if group.tier not in self._weights:
            return False
        if self._model_capacity.get(group.model, 1) <= 0:
            return False
        if self._project_capacity.get((group.project_id, group.model), 1) <= 0:
            return False
        if group.tier == Tier.OVER_LIMIT:
            return self._capacity.free_slots(group.lane) > self._capacity.reserve(group.lane, self._reserve)
        return self._capacity.has_slot(group.lane)

    def _take(self, group: CandidateGroup) -> None:
        self._capacity.take(group.lane)
        self._running[group.project_id] += 1
        if group.model in self._model_capacity:
            self._model_capacity[group.model] -= 1
        if (group.project_id, group.model) in self._project_capacity:
            self._project_capacity[group.project_id, group.model] -= 1


def _tier_queues(
    situation: Situation, capacity: Capacity, queues: Mapping[str, Mapping[str, ProjectQueue]]
) -> list[TierQueue]:
    running: Counter[str] = Counter()
    for (tier, _), count in situation.running.items():
        running[tier] += count
    weights = situation.weights
    charges = _charges(situation)
    contending = sum(weights[tier] for tier in queues)
    return [
        TierQueue(
            tier,
            projects,
            weight=weights[tier],
            charged=charges[tier],
            running=running[tier],
            part=ceil(capacity.slots * weights[tier] / contending),
        )
        for tier, projects in queues.items()
    ]


def _charges(situation: Situation) -> dict[str, float]:
    """Return the charge of each tier; a tier that had nothing waiting keeps a credit of at most one turn."""
    charged: dict[str, float] = {}
    for (tier, _), turn in situation.last_served.items():
        charged[tier] = max(charged.get(tier, 0.0), turn.charged)
    weights = situation.weights
    # The charge of the tier that is furthest ahead, before its latest turn.
    front = max((charged[tier] - 1 / weights[tier] for tier in charged if tier in weights), default=0.0)
    return {tier: max(charged.get(tier, 0.0), front - 1 / weight, 0.0) for tier, weight in weights.items()}

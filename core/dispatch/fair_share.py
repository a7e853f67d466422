"""Fair choice among waiting responses: by tier, then by project, then by age or deadline; a pure function.

docs/dispatch.md documents the rules for users. SQL only fetches the candidates and the capacity.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from math import ceil

from core.dispatch.capacity import Capacity
from core.dispatch.queues import ProjectQueue, TierQueue
from core.dispatch.situation import Candidate, CandidateGroup, Choice, Situation
from core.dispatch.waits.dispatch_limits import Limits


def fair_share(
    situation: Situation, capacity: Capacity, candidates: Mapping[CandidateGroup, Collection[Candidate]], limit: int
) -> list[Choice]:
    """Choose up to `limit` candidates to dispatch, in order.

    1. Each turn charges its tier 1 / weight, and the tier with the lowest charge after the turn is next. A tier
       without waiting responses accumulates at most one turn of credit. A tier that already occupies its share of all
       slots goes after the tiers that do not.
    2. Within a tier, the project with the fewest running responses is next; among equals, projects without a response
       that has just ended go first, then the project with the oldest last turn.
    3. Within a project, foreground goes before background, then earlier before later.

    The result never exceeds `capacity` (from which the slots are taken), `model_capacity` or `project_capacity`.
    Candidates that exceed one of them are skipped, and no tier or project is charged for them.
    """
    chooser = _Chooser(situation, capacity, candidates)
    choices: list[Choice] = []
    while len(choices) < limit and (choice := chooser.choose_next()) is not None:
        choices.append(choice)
    return choices


class _Chooser:
    """The state of one call of `fair_share`. Capacity only decreases, so a blocked group can be dropped permanently."""

    def __init__(
        self, situation: Situation, capacity: Capacity, candidates: Mapping[CandidateGroup, Collection[Candidate]]
    ) -> None:
        self._limits = Limits(situation, capacity)
        self._running_counts: Counter[str] = Counter()  # by project, over all tiers
        for (_, project_id), count in situation.running_counts.items():
            self._running_counts[project_id] += count
        queues: dict[str, dict[str, ProjectQueue]] = defaultdict(dict)
        for group, group_candidates in candidates.items():
            if group_candidates and self._may_run(group):
                tier, project_id = group.tier, group.project_id
                record = situation.service_records.get((tier, project_id))
                queue = queues[tier].setdefault(
                    project_id,
                    ProjectQueue(
                        has_recent_end=(tier, project_id) in situation.recent_ends,
                        served_at=record.at if record else float("-inf"),
                    ),
                )
                queue.add(group, group_candidates)
        self._tiers = _build_tier_queues(situation, capacity, queues)

    def choose_next(self) -> Choice | None:
        """Choose the next response and take its capacity; return None if no remaining candidate may run."""
        while self._tiers:
            tier = min(self._tiers, key=TierQueue.sort_key)
            candidate = tier.pop_candidate(self._running_counts, self._may_run)
            if candidate is None:
                self._tiers.remove(tier)
                continue
            group, response_id = candidate
            self._limits.take(group)
            self._running_counts[group.project_id] += 1
            return Choice(group, response_id, tier.charge_turn())
        return None

    def _may_run(self, group: CandidateGroup) -> bool:
        return self._limits.find_block(group) is None


def _build_tier_queues(
    situation: Situation, capacity: Capacity, queues: Mapping[str, Mapping[str, ProjectQueue]]
) -> list[TierQueue]:
    running_counts: Counter[str] = Counter()
    for (tier, _), count in situation.running_counts.items():
        running_counts[tier] += count
    weights = situation.weights
    charges = _tier_charges(situation)
    total_weight = sum(weights[tier] for tier in queues)
    return [
        TierQueue(
            tier,
            projects,
            weight=weights[tier],
            charge=charges[tier],
            running_count=running_counts[tier],
            slot_share=ceil(capacity.slots * weights[tier] / total_weight),
        )
        for tier, projects in queues.items()
    ]


def _tier_charges(situation: Situation) -> dict[str, float]:
    """Return the charge of each tier; the credit of a tier without waiting responses is limited to one turn."""
    charges: dict[str, float] = {}
    for (tier, _), record in situation.service_records.items():
        charges[tier] = max(charges.get(tier, 0.0), record.tier_charge)
    weights = situation.weights
    # The highest charge of any tier before its latest turn.
    highest_charge = max((charges[tier] - 1 / weights[tier] for tier in charges if tier in weights), default=0.0)
    return {tier: max(charges.get(tier, 0.0), highest_charge - 1 / weight, 0.0) for tier, weight in weights.items()}

"""Fair share: tiers by weight, projects in turn, responses by deadline, and never more than the capacity allows."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.config.tiers import WEIGHTS, Tier
from core.dispatch.capacity import Capacity, Pool
from core.dispatch.fair_share import fair_share
from core.dispatch.situation import Candidate, CandidateGroup, Choice, ServiceRecord, Situation

TIERS = tuple(tier.value for tier in Tier)
TIERS_WITHIN_LIMITS = tuple(tier for tier in TIERS if tier != Tier.OVER_LIMIT)
TIER_WEIGHTS = {tier.value: float(weight) for tier, weight in WEIGHTS.items()}
PROJECTS = ("p1", "p2", "p3")
MODELS = ("m1", "m2")
LANES = ("default", "slow")
UNLIMITED = 1000  # more than the number of candidates of any example

Candidates = dict[CandidateGroup, list[Candidate]]


def groups() -> st.SearchStrategy[CandidateGroup]:
    return st.builds(CandidateGroup, *map(st.sampled_from, (LANES, TIERS, PROJECTS, MODELS)))


@st.composite
def candidates_by_group(draw: st.DrawFn) -> Candidates:
    counts = draw(st.dictionaries(groups(), st.integers(1, 8), max_size=10))
    numbers = itertools.count()
    return {
        group: [
            Candidate(background=draw(st.booleans()), due=draw(st.integers(0, 5)), id=f"resp_{next(numbers):03}")
            for _ in range(count)
        ]
        for group, count in counts.items()
    }


tier_project_pairs = st.tuples(st.sampled_from(TIERS), st.sampled_from(PROJECTS))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    record = st.builds(ServiceRecord, st.floats(0, 50), st.floats(0, 100))
    return Situation(
        weights=TIER_WEIGHTS,
        service_records=draw(st.dictionaries(tier_project_pairs, record)),
        running_counts=draw(st.dictionaries(tier_project_pairs, st.integers(0, 9))),
        recent_ends=draw(st.sets(tier_project_pairs)),
        model_capacity=draw(st.dictionaries(st.sampled_from(MODELS), st.integers(-1, 6))),
        project_capacity=draw(
            st.dictionaries(st.tuples(st.sampled_from(PROJECTS), st.sampled_from(MODELS)), st.integers(-1, 4))
        ),
        reserve=draw(st.sampled_from([0.0, 0.2])),
    )


@st.composite
def idle_pools(draw: st.DrawFn) -> list[Pool]:
    lanes = st.frozensets(st.sampled_from(LANES), min_size=1)
    models = st.none() | st.frozensets(st.sampled_from(MODELS))
    pool = st.builds(lambda lanes, slots, models: Pool(lanes, slots, slots, models), lanes, st.integers(0, 12), models)
    return draw(st.lists(pool, max_size=3, unique_by=lambda pool: (pool.lanes, pool.models)))


def ample_capacity(slots: int = 10_000) -> Capacity:
    return Capacity([Pool(frozenset(LANES), slots, slots)], {})


def backlog(tier: str, project: str, count: int, model: str = "m1") -> Candidates:
    ids = (f"{tier}-{project}-{model}-{number:04}" for number in range(count))
    return {
        CandidateGroup("default", tier, project, model): [
            Candidate(background=True, due=number, id=response_id) for number, response_id in enumerate(ids)
        ]
    }


class ChoiceCounts(NamedTuple):
    by_model: Counter[str]
    by_project_and_model: Counter[tuple[str, str]]
    by_lane_and_model: Counter[tuple[str, str]]


def count_choices(choices: Sequence[Choice]) -> ChoiceCounts:
    return ChoiceCounts(
        Counter(choice.group.model for choice in choices),
        Counter((choice.group.project_id, choice.group.model) for choice in choices),
        Counter((choice.group.lane, choice.group.model) for choice in choices),
    )


@settings(deadline=None)
@given(situations(), idle_pools(), candidates_by_group(), st.integers(0, 30))
def test_the_choices_never_exceed_slots_limits_or_the_batch_and_are_unique(
    situation: Situation, pools: list[Pool], candidates: Candidates, limit: int
) -> None:
    choices = fair_share(situation, Capacity(pools, {}), candidates, limit)

    counts = count_choices(choices)
    assert len({choice.id for choice in choices}) == len(choices) <= limit
    assert all(counts.by_model[model] <= max(0, capacity) for model, capacity in situation.model_capacity.items())
    assert all(
        counts.by_project_and_model[pair] <= max(0, capacity) for pair, capacity in situation.project_capacity.items()
    )
    unused_capacity = Capacity(pools, {})
    assert all(unused_capacity.take_slot(*pair) for pair in counts.by_lane_and_model.elements())


@settings(deadline=None)
@given(situations(), idle_pools(), candidates_by_group())
def test_no_slot_remains_free_while_a_response_may_use_it(
    situation: Situation, pools: list[Pool], candidates: Candidates
) -> None:
    capacity = Capacity(pools, {})
    choices = fair_share(situation, capacity, candidates, UNLIMITED)

    counts = count_choices(choices)
    group_counts = Counter(choice.group for choice in choices)
    for group, group_candidates in candidates.items():
        if group_counts[group] < len(group_candidates):
            reserve = capacity.reserve_size(group.lane, situation.reserve) if group.tier == Tier.OVER_LIMIT else 0
            pair = group.project_id, group.model
            assert (
                capacity.free_slots(group.lane, group.model) <= reserve
                or situation.model_capacity.get(group.model, UNLIMITED) <= counts.by_model[group.model]
                or situation.project_capacity.get(pair, UNLIMITED) <= counts.by_project_and_model[pair]
            )


@settings(deadline=None)
@given(situations(), idle_pools(), candidates_by_group(), st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_the_candidates(
    situation: Situation, pools: list[Pool], candidates: Candidates, random: object
) -> None:
    shuffled_candidates = list(candidates.items())
    random.shuffle(shuffled_candidates)  # type: ignore[attr-defined]

    choices = fair_share(situation, Capacity(pools, {}), candidates, 20)

    assert fair_share(situation, Capacity(pools, {}), dict(shuffled_candidates), 20) == choices


@settings(deadline=None)
@given(situations(), candidates_by_group(), st.integers(0, 30))
def test_a_project_runs_foreground_before_background_and_then_by_age_or_deadline(
    situation: Situation, candidates: Candidates, limit: int
) -> None:
    unlimited_situation = replace(situation, model_capacity={}, project_capacity={})
    choices = fair_share(unlimited_situation, ample_capacity(), candidates, limit)

    for tier in TIERS:
        for project in PROJECTS:
            waiting = sorted(
                candidate
                for group, group_candidates in candidates.items()
                if (group.tier, group.project_id) == (tier, project)
                for candidate in group_candidates
            )
            ids = [choice.id for choice in choices if (choice.group.tier, choice.group.project_id) == (tier, project)]
            assert ids == [candidate.id for candidate in waiting[: len(ids)]]


@settings(deadline=None)
@given(st.sets(st.sampled_from(TIERS_WITHIN_LIMITS), min_size=1), st.integers(1, 100))
def test_tiers_get_turns_in_proportion_to_their_weights(tiers: set[str], turns: int) -> None:
    candidates: Candidates = {}
    for tier in tiers:
        candidates |= backlog(tier, "p1", 100)

    choices = fair_share(Situation(TIER_WEIGHTS), ample_capacity(), candidates, turns)

    counts = Counter(choice.group.tier for choice in choices)
    total_weight = sum(TIER_WEIGHTS[tier] for tier in tiers)
    for tier in tiers:
        share = turns * TIER_WEIGHTS[tier] / total_weight
        assert abs(counts[tier] - share) <= len(tiers)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PROJECTS), st.integers(0, 9), min_size=1), st.integers(1, 60))
def test_slots_go_to_the_projects_with_the_fewest_running_responses(running_counts: dict[str, int], turns: int) -> None:
    candidates: Candidates = {}
    for project in running_counts:
        candidates |= backlog("default", project, 100)
    situation = Situation(
        TIER_WEIGHTS, running_counts={("default", project): count for project, count in running_counts.items()}
    )

    choices = fair_share(situation, ample_capacity(), candidates, turns)

    slots = Counter(choice.group.project_id for choice in choices)
    new_counts = {project: running_counts[project] + slots[project] for project in running_counts}
    # No project got a slot while another project had at least two fewer running responses.
    assert all(
        new_counts[project] <= max(running_counts[project], min(new_counts.values()) + 1) for project in running_counts
    )


class Simulation:
    """Dispatch to a single slot: each chosen response runs and ends before the next choice."""

    def __init__(self, candidates: Candidates) -> None:
        self.waiting_candidates = {group: list(group_candidates) for group, group_candidates in candidates.items()}
        self.records: dict[tuple[str, str], ServiceRecord] = {}
        self.turn = 0

    def run_next(self) -> Choice | None:
        self.turn += 1
        choices = fair_share(
            Situation(TIER_WEIGHTS, service_records=self.records), ample_capacity(1), self.waiting_candidates, 1
        )
        if not choices:
            return None
        (choice,) = choices
        group = choice.group
        self.waiting_candidates[group] = [
            candidate for candidate in self.waiting_candidates[group] if candidate.id != choice.id
        ]
        record = self.records.get((group.tier, group.project_id), ServiceRecord(tier_charge=0, at=0))
        tier_charge = max(record.tier_charge, choice.tier_charge)
        self.records[group.tier, group.project_id] = ServiceRecord(tier_charge, at=self.turn)
        return choice


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(TIERS_WITHIN_LIMITS), st.sampled_from(PROJECTS)),
        st.integers(1, 40),
        min_size=1,
        max_size=6,
    )
)
def test_with_one_slot_no_waiting_project_starves(waiting_counts: Mapping[tuple[str, str], int]) -> None:
    candidates: Candidates = {}
    for (tier, project), count in waiting_counts.items():
        candidates |= backlog(tier, project, count)
    simulation = Simulation(candidates)
    turns_waited: Counter[tuple[str, str]] = Counter()
    project_counts = Counter(tier for tier, _ in waiting_counts)
    total_weight = sum(TIER_WEIGHTS[tier] for tier in project_counts)

    while (choice := simulation.run_next()) is not None:
        served_pair = choice.group.tier, choice.group.project_id
        turns_waited[served_pair] = 0
        for group, candidates_of_group in simulation.waiting_candidates.items():
            pair = group.tier, group.project_id
            if candidates_of_group and pair != served_pair:
                turns_waited[pair] += 1
                # One turn for each project of the tier, and between them the turns of other tiers by their weights.
                max_turns = project_counts[group.tier] * ceil(total_weight / TIER_WEIGHTS[group.tier] + 1)
                assert turns_waited[pair] <= max_turns
    assert not any(simulation.waiting_candidates.values())


@settings(deadline=None)
@given(st.sampled_from(TIERS_WITHIN_LIMITS), st.sampled_from(TIERS_WITHIN_LIMITS), st.integers(1, 100))
def test_a_tier_without_waiting_responses_accumulates_at_most_one_turn(
    busy_tier: str, idle_tier: str, turns_before: int
) -> None:
    assume(idle_tier != busy_tier)
    simulation = Simulation(backlog(busy_tier, "p1", 400))
    for _ in range(turns_before):
        simulation.run_next()
    simulation.waiting_candidates |= backlog(idle_tier, "p2", 400)
    choices = [simulation.run_next() for _ in range(100)]
    idle_tier_turns = sum(choice is not None and choice.group.tier == idle_tier for choice in choices)

    share = 100 * TIER_WEIGHTS[idle_tier] / (TIER_WEIGHTS[idle_tier] + TIER_WEIGHTS[busy_tier])
    assert abs(idle_tier_turns - share) <= 2 + TIER_WEIGHTS[idle_tier] / TIER_WEIGHTS[busy_tier]


def test_a_tier_that_occupies_its_share_of_the_slots_goes_after_the_others() -> None:
    candidates = backlog("flex", "p1", 20) | backlog("default", "p2", 20)
    # The share of `default` is 8 of 10 slots: 4 / (4 + 1).
    situation = Situation(TIER_WEIGHTS, running_counts={("default", "p2"): 7})

    choices = fair_share(
        situation, Capacity([Pool(frozenset({"default"}), slots=10, idle_slots=3)], {}), candidates, 10
    )

    assert [choice.group.tier for choice in choices] == ["default", "flex", "flex"]


def test_another_project_goes_before_a_project_with_a_response_that_has_just_ended() -> None:
    candidates = backlog("default", "p1", 2) | backlog("default", "p2", 2)
    situation = Situation(TIER_WEIGHTS, recent_ends={("default", "p1")})

    choices = fair_share(situation, ample_capacity(), candidates, 1)

    assert [choice.group.project_id for choice in choices] == ["p2"]


def test_a_tier_without_a_weight_is_skipped() -> None:
    candidates = backlog("future", "p1", 2) | backlog("default", "p2", 2)
    situation = Situation(TIER_WEIGHTS, service_records={("future", "p1"): ServiceRecord(tier_charge=9, at=9)})

    choices = fair_share(situation, ample_capacity(), candidates, 5)

    assert [choice.group.tier for choice in choices] == ["default", "default"]


def test_a_response_that_exceeds_a_limit_does_not_charge_its_tier() -> None:
    candidates = backlog("no-limit", "p1", 50) | backlog("default", "p2", 50) | backlog("flex", "p3", 50, "m2")
    situation = Situation(TIER_WEIGHTS, project_capacity={("p1", "m1"): 1})

    choices = fair_share(situation, ample_capacity(), candidates, 11)

    assert Counter(choice.group.tier for choice in choices) == {"no-limit": 1, "default": 8, "flex": 2}
    assert max(choice.tier_charge for choice in choices if choice.group.tier == "default") == 8 / 4

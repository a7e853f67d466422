"""Fair share: tiers by weight, projects in turn, deadlines in order, and never more than the capacity."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.tiers import WEIGHTS, Tier
from core.dispatch.capacity import Capacity, Pool
from core.dispatch.fair_share import fair_share
from core.dispatch.situation import Candidate, CandidateGroup, Choice, Served, Situation

TIERS = tuple(tier.value for tier in Tier)
USUAL = tuple(tier for tier in TIERS if tier != Tier.OVER_LIMIT)
WEIGHT = {tier.value: float(weight) for tier, weight in WEIGHTS.items()}
PROJECTS = ("p1", "p2", "p3")
MODELS = ("m1", "m2")
LANES = ("default", "slow")

Candidates = dict[CandidateGroup, list[Candidate]]


def groups(tiers: Sequence[str] = TIERS) -> st.SearchStrategy[CandidateGroup]:
    return st.builds(CandidateGroup, *map(st.sampled_from, (LANES, tiers, PROJECTS, MODELS)))


def all_candidates(draw: st.DrawFn, tiers: Sequence[str] = TIERS) -> Candidates:
    counts = draw(st.dictionaries(groups(tiers), st.integers(1, 8), max_size=10))
    numbers = iter(range(1000))
    return {
        group: [
            Candidate(draw(st.booleans()), draw(st.integers(0, 5)), f"resp_{next(numbers):03}") for _ in range(count)
        ]
        for group, count in counts.items()
    }


pairs = st.tuples(st.sampled_from(TIERS), st.sampled_from(PROJECTS))
candidates_of_all_tiers = st.composite(all_candidates)()


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    turn = st.builds(Served, st.floats(0, 50), st.floats(0, 100))
    return Situation(
        weights=WEIGHT,
        last_served=draw(st.dictionaries(pairs, turn)),
        running=draw(st.dictionaries(pairs, st.integers(0, 9))),
        just_ran=draw(st.sets(pairs)),
        model_capacity=draw(st.dictionaries(st.sampled_from(MODELS), st.integers(-1, 6))),
        project_capacity=draw(
            st.dictionaries(st.tuples(st.sampled_from(PROJECTS), st.sampled_from(MODELS)), st.integers(-1, 4))
        ),
        reserve=draw(st.sampled_from([0.0, 0.2])),
    )


@st.composite
def all_pools(draw: st.DrawFn) -> list[Pool]:
    lanes = st.frozensets(st.sampled_from(LANES), min_size=1)
    pool = st.builds(lambda served, slots: Pool(served, slots, slots), lanes, st.integers(0, 12))
    return draw(st.lists(pool, max_size=3, unique_by=lambda pool: pool.lanes))


def large(slots: int = 10_000) -> Capacity:
    return Capacity([Pool(frozenset(LANES), slots, slots)], {})


def backlog(tier: str, project: str, count: int, model: str = "m1") -> Candidates:
    ids = (f"{tier}-{project}-{model}-{number:04}" for number in range(count))
    return {
        CandidateGroup("default", tier, project, model): [
            Candidate(True, number, one) for number, one in enumerate(ids)
        ]
    }


def capacity_used(chosen: Sequence[Choice]) -> tuple[Counter[str], Counter[tuple[str, str]], Counter[str]]:
    return (
        Counter(choice.group.model for choice in chosen),
        Counter((choice.group.project_id, choice.group.model) for choice in chosen),
        Counter(choice.group.lane for choice in chosen),
    )


@settings(deadline=None)
@given(situations(), all_pools(), candidates_of_all_tiers, st.integers(0, 30))
def test_nothing_exceeds_slots_limits_or_the_batch_and_nothing_is_chosen_twice(
    situation: Situation, pools: list[Pool], candidates: Candidates, most: int
) -> None:
    chosen = fair_share(situation, Capacity(pools, {}), candidates, most)

    models, projects, lanes = capacity_used(chosen)
    assert len({choice.id for choice in chosen}) == len(chosen) <= most
    assert all(models[model] <= max(0, room) for model, room in situation.model_capacity.items())
    assert all(projects[pair] <= max(0, room) for pair, room in situation.project_capacity.items())
    fresh = Capacity(pools, {})
    assert all(fresh.take(lane) for lane in lanes.elements())


@settings(deadline=None)
@given(situations(), all_pools(), candidates_of_all_tiers)
def test_no_slot_stays_free_that_something_may_take(
    situation: Situation, pools: list[Pool], candidates: Candidates
) -> None:
    capacity = Capacity(pools, {})
    chosen = fair_share(situation, capacity, candidates, 1000)

    models, projects, _ = capacity_used(chosen)
    of_group = Counter(choice.group for choice in chosen)
    for group, found in candidates.items():
        if of_group[group] < len(found):
            reserve = capacity.reserve(group.lane, situation.reserve) if group.tier == Tier.OVER_LIMIT else 0
            pair = group.project_id, group.model
            assert (
                capacity.free_slots(group.lane) <= reserve
                or situation.model_capacity.get(group.model, 1000) <= models[group.model]
                or situation.project_capacity.get(pair, 1000) <= projects[pair]
            )


@settings(deadline=None)
@given(situations(), all_pools(), candidates_of_all_tiers, st.randoms())
def test_the_choice_does_not_depend_on_the_order_in_which_candidates_are_found(
    situation: Situation, pools: list[Pool], candidates: Candidates, random: object
) -> None:
    shuffled = list(candidates.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    chosen = fair_share(situation, Capacity(pools, {}), candidates, 20)

    assert fair_share(situation, Capacity(pools, {}), dict(shuffled), 20) == chosen


@settings(deadline=None)
@given(situations(), candidates_of_all_tiers, st.integers(0, 30))
def test_a_project_runs_foreground_before_background_and_then_by_age_or_deadline(
    situation: Situation, candidates: Candidates, most: int
) -> None:
    unlimited = replace(situation, model_capacity={}, project_capacity={})
    chosen = fair_share(unlimited, large(), candidates, most)

    for tier in TIERS:
        for project in PROJECTS:
            waiting = sorted(
                candidate
                for group, found in candidates.items()
                if (group.tier, group.project_id) == (tier, project)
                for candidate in found
            )
            ids = [one.id for one in chosen if (one.group.tier, one.group.project_id) == (tier, project)]
            assert ids == [candidate.id for candidate in waiting[: len(ids)]]


@settings(deadline=None)
@given(st.sets(st.sampled_from(USUAL), min_size=1), st.integers(1, 100))
def test_tiers_get_turns_by_their_weights(tiers: set[str], turns: int) -> None:
    candidates: Candidates = {}
    for tier in tiers:
        candidates |= backlog(tier, "p1", 100)

    chosen = fair_share(Situation(WEIGHT), large(), candidates, turns)

    counted = Counter(choice.group.tier for choice in chosen)
    for tier in tiers:
        share = turns * WEIGHT[tier] / sum(WEIGHT[one] for one in tiers)
        assert abs(counted[tier] - share) <= len(tiers)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PROJECTS), st.integers(0, 9), min_size=1), st.integers(1, 60))
def test_slots_go_to_the_projects_with_the_fewest_running(running: dict[str, int], turns: int) -> None:
    candidates: Candidates = {}
    for project in running:
        candidates |= backlog("default", project, 100)
    situation = Situation(WEIGHT, running={("default", project): count for project, count in running.items()})

    chosen = fair_share(situation, large(), candidates, turns)

    given_ = Counter(choice.group.project_id for choice in chosen)
    after = {project: running[project] + given_[project] for project in running}
    # No project was given a slot while another had at least two fewer running.
    assert all(after[one] <= max(running[one], min(after.values()) + 1) for one in running)


class Simulation:
    """One slot that becomes free repeatedly: each chosen response runs and ends before the next choice."""

    def __init__(self, candidates: Candidates) -> None:
        self.waiting = {group: list(found) for group, found in candidates.items()}
        self.served: dict[tuple[str, str], Served] = {}
        self.now = 0

    def next(self) -> Choice | None:
        self.now += 1
        chosen = fair_share(Situation(WEIGHT, last_served=self.served), large(1), self.waiting, 1)
        if not chosen:
            return None
        (choice,) = chosen
        group = choice.group
        self.waiting[group] = [one for one in self.waiting[group] if one.id != choice.id]
        had = self.served.get((group.tier, group.project_id), Served(0, 0))
        self.served[group.tier, group.project_id] = Served(max(had.charged, choice.charged), self.now)
        return choice


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(USUAL), st.sampled_from(PROJECTS)), st.integers(1, 40), min_size=1, max_size=6
    )
)
def test_with_one_slot_nobody_who_waits_starves(waiting: Mapping[tuple[str, str], int]) -> None:
    candidates: Candidates = {}
    for (tier, project), count in waiting.items():
        candidates |= backlog(tier, project, count)
    simulation = Simulation(candidates)
    waited: Counter[tuple[str, str]] = Counter()
    in_tier: dict[str, int] = defaultdict(int)
    for tier, _ in waiting:
        in_tier[tier] += 1
    all_weights = sum(WEIGHT[tier] for tier in in_tier)

    while (choice := simulation.next()) is not None:
        waited[choice.group.tier, choice.group.project_id] = 0
        for (tier, project), left in ((one[1:3], found) for one, found in simulation.waiting.items()):
            if left and (tier, project) != (choice.group.tier, choice.group.project_id):
                waited[tier, project] += 1
                # Each project of the tier once, and meanwhile no more from the other tiers than their weights allow.
                assert waited[tier, project] <= in_tier[tier] * ceil(all_weights / WEIGHT[tier] + 1)
    assert not any(simulation.waiting.values())


@settings(deadline=None)
@given(st.sampled_from(USUAL), st.sampled_from(USUAL), st.integers(1, 100))
def test_a_tier_that_had_nothing_waiting_has_saved_up_one_turn_at_most(
    busy: str, unavailable: str, before: int
) -> None:
    simulation = Simulation(backlog(busy, "p1", 400))
    for _ in range(before):
        simulation.next()
    if unavailable != busy:
        simulation.waiting |= backlog(unavailable, "p2", 400)
        turns = [choice.group.tier for choice in (simulation.next() for _ in range(100)) if choice]

        share = 100 * WEIGHT[unavailable] / (WEIGHT[unavailable] + WEIGHT[busy])
        assert abs(turns.count(unavailable) - share) <= 1 + WEIGHT[unavailable] / WEIGHT[busy] + 1


def test_a_tier_that_runs_in_its_part_of_the_slots_goes_behind_the_others() -> None:
    candidates = backlog("flex", "p1", 20) | backlog("default", "p2", 20)
    situation = Situation(WEIGHT, running={("default", "p2"): 7})  # its share is 8 of 10 slots: 4 / (4 + 1)

    chosen = fair_share(situation, Capacity([Pool(frozenset({"default"}), 10, 3)], {}), candidates, 10)

    assert [choice.group.tier for choice in chosen] == ["default", "flex", "flex"]


def test_a_project_whose_response_just_ended_lets_another_go_first() -> None:
    candidates = backlog("default", "p1", 2) | backlog("default", "p2", 2)
    situation = Situation(WEIGHT, just_ran={("default", "p1")})

    chosen = fair_share(situation, large(), candidates, 1)

    assert [choice.group.project_id for choice in chosen] == ["p2"]


def test_a_tier_that_has_no_weight_is_passed_over() -> None:
    candidates = backlog("future", "p1", 2) | backlog("default", "p2", 2)

    chosen = fair_share(Situation(WEIGHT, last_served={("future", "p1"): Served(9, 9)}), large(), candidates, 5)

    assert [choice.group.tier for choice in chosen] == ["default", "default"]


def test_what_a_limit_holds_back_costs_its_tier_no_turn() -> None:
    candidates = backlog("no-limit", "p1", 50) | backlog("default", "p2", 50) | backlog("flex", "p3", 50, "m2")
    situation = Situation(WEIGHT, project_capacity={("p1", "m1"): 1})

    chosen = fair_share(situation, large(), candidates, 11)

    assert Counter(choice.group.tier for choice in chosen) == {"no-limit": 1, "default": 8, "flex": 2}
    assert max(choice.charged for choice in chosen if choice.group.tier == "default") == 8 / 4

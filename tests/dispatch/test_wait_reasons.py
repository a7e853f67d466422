"""The reason why a response waits agrees with the choice of `fair_share` from the same snapshot."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.tiers import WEIGHTS, Tier
from core.dispatch.fair_share import fair_share
from core.dispatch.situation import Candidate, CandidateGroup, Choice, Rules, Situation
from core.dispatch.snapshot import Snapshot, build_situation, compute_capacity
from core.dispatch.snapshot_rows import LiveWorker, Occupancy, OpenCircuit
from core.dispatch.waits.descriptions import CLIENT_REASONS, describe
from core.dispatch.waits.dispatch_limits import Limits, WaitReason
from core.dispatch.waits.reasons import QueuedResponse, find_reason
from core.wire.response import ClientWaitReason

LANES = ("default", "slow")
PROJECT_NAMES = {"proj_1": "one", "proj_2": "two"}
MODELS = ("m1", "m2")
TIERS = (*(tier.value for tier in Tier), "future")

groups = st.builds(CandidateGroup, *map(st.sampled_from, (LANES, TIERS, tuple(PROJECT_NAMES), MODELS)))
workers = st.builds(
    LiveWorker,
    st.sampled_from(["w1", "w2", "w3"]),
    st.just("here"),
    st.just(1),
    st.frozensets(st.sampled_from(LANES), min_size=1),
    st.integers(0, 6),
)
circuits = st.builds(OpenCircuit, st.booleans(), st.sampled_from([-1.0, 0.0, 2.5]), st.integers(1, 9), st.just("No."))
occupancies = st.builds(Occupancy, groups, st.sampled_from([None, "w1", "w2", "gone"]), st.integers(1, 4))
snapshots = st.builds(
    Snapshot,
    occupancies=st.lists(occupancies, max_size=5),
    workers=st.lists(workers, max_size=3, unique_by=lambda worker: worker.id),
    service_records=st.just({}),
    circuits=st.dictionaries(st.sampled_from(MODELS), circuits),
    recent_ends=st.just(()),
    read_at=st.just(0.0),
)
rule_sets = st.builds(
    Rules,
    weights=st.just({tier.value: float(weight) for tier, weight in WEIGHTS.items()}),
    model_caps=st.dictionaries(st.sampled_from(MODELS), st.integers(1, 6)),
    running_limits=st.dictionaries(
        st.tuples(st.sampled_from(["one", "*"]), st.sampled_from(["m1", "*"])), st.none() | st.integers(1, 4)
    ),
    reserve=st.sampled_from([0.0, 0.2, 0.6]),
)


def compute_situation(snapshot: Snapshot, rules: Rules, waiting_groups: Sequence[CandidateGroup]) -> Situation:
    """The situation that dispatch computes, in which projects without waiting responses have no limits."""
    return build_situation(snapshot, rules, waiting_groups, PROJECT_NAMES)


def compute_reason(
    snapshot: Snapshot, rules: Rules, response: QueuedResponse, *, is_broker_available: bool = True
) -> WaitReason:
    """The reason, computed from the limits of the projects with running or dispatched responses, as `Waits` does."""
    busy_groups = [occupancy.group for occupancy in snapshot.occupancies]
    limits = Limits(compute_situation(snapshot, rules, busy_groups), compute_capacity(snapshot))
    return find_reason(response, snapshot, limits, is_broker_available=is_broker_available)


def choose_responses(snapshot: Snapshot, rules: Rules, waiting_groups: Sequence[CandidateGroup]) -> list[Choice]:
    """The choices of dispatch if one due response of each of these groups waits."""
    candidates = {group: [Candidate(True, 0.0, f"resp_{number}")] for number, group in enumerate(waiting_groups)}
    return fair_share(
        compute_situation(snapshot, rules, waiting_groups), compute_capacity(snapshot), candidates, len(waiting_groups)
    )


@settings(deadline=None)
@given(snapshots, rule_sets, groups)
def test_a_response_that_waits_alone_is_chosen_exactly_if_its_reason_is_turn(
    snapshot: Snapshot, rules: Rules, group: CandidateGroup
) -> None:
    reason = compute_reason(snapshot, rules, QueuedResponse(group, 0.0, is_dispatched=False))

    assert (reason == WaitReason.TURN) == bool(choose_responses(snapshot, rules, [group]))


@settings(deadline=None)
@given(snapshots, rule_sets, st.lists(groups, unique=True, min_size=1, max_size=6))
def test_a_response_with_a_reason_other_than_turn_is_never_chosen(
    snapshot: Snapshot, rules: Rules, waiting_groups: list[CandidateGroup]
) -> None:
    chosen_groups = {choice.group for choice in choose_responses(snapshot, rules, waiting_groups)}

    for group in chosen_groups:
        assert compute_reason(snapshot, rules, QueuedResponse(group, 0.0, is_dispatched=False)) == WaitReason.TURN


@settings(deadline=None)
@given(snapshots, rule_sets, groups, st.booleans(), st.booleans(), st.booleans())
def test_every_reason_has_a_description_and_a_reason_for_clients(
    snapshot: Snapshot,
    rules: Rules,
    group: CandidateGroup,
    is_due: bool,
    is_dispatched: bool,
    is_broker_available: bool,
) -> None:
    response = QueuedResponse(group, 0.0 if is_due else 7.25, is_dispatched=is_dispatched)

    reason = compute_reason(snapshot, rules, response, is_broker_available=is_broker_available)

    assert "None" not in describe(reason, response, snapshot)
    assert CLIENT_REASONS[reason] in ClientWaitReason


def test_every_reason_is_mapped_and_every_reason_for_clients_is_used() -> None:
    assert set(CLIENT_REASONS) == set(WaitReason)
    assert set(CLIENT_REASONS.values()) == set(ClientWaitReason)


def test_a_missing_worker_precedes_an_outage_the_delay_and_the_limits() -> None:
    group = CandidateGroup("default", "default", "proj_1", "m1")
    rules = Rules(weights={"default": 4.0}, model_caps={"m1": 1}, running_limits={("one", "m1"): 1})
    draining_worker = LiveWorker("w1", "here", 1, frozenset({"default"}), 0)
    snapshot = Snapshot(
        occupancies=[Occupancy(group, "w1", 1)],
        workers=[draining_worker],
        service_records={},
        circuits={"m1": OpenCircuit(is_probing=False, remaining_s=3.0, failures=2, cause="No.")},
        recent_ends=(),
        read_at=0.0,
    )
    later_response = QueuedResponse(group, 5.0, is_dispatched=False)
    free_worker = replace(draining_worker, id="w2", slots=9)

    assert compute_reason(snapshot, rules, later_response, is_broker_available=False) == WaitReason.LANE_DRAINING
    snapshot = replace(snapshot, workers=[draining_worker, free_worker])
    assert compute_reason(snapshot, rules, later_response, is_broker_available=False) == WaitReason.BROKER_UNAVAILABLE
    assert compute_reason(snapshot, rules, later_response) == WaitReason.CIRCUIT_OPEN
    snapshot = replace(snapshot, circuits={})
    assert compute_reason(snapshot, rules, later_response) == WaitReason.NOT_DUE
    due_response = replace(later_response, due_in_s=0.0)
    assert compute_reason(snapshot, rules, due_response) == WaitReason.PROJECT_LIMIT
    assert compute_reason(snapshot, replace(rules, running_limits={}), due_response) == WaitReason.MODEL_CONCURRENCY
    assert compute_reason(snapshot, replace(rules, running_limits={}, model_caps={}), due_response) == WaitReason.TURN

"""The engine agrees with a model of its state machine after random operations, including those of outdated attempts."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core import errors
from core.runs.attempt import HandBack
from core.runs.attempts import Batch
from core.runs.ends import Outcome, failed_outcome
from core.wire import response, transcript
from core.wire.status import Status
from tests.conftest import new_database
from tests.harness.engine import COMPLETED, batch, submit
from tests.runs.deployment import NARROW_CONCURRENCY, SLOTS, Deployment, DeploymentStack, WorkerAttempt
from tests.runs.lifecycles import Lifecycle

OUTCOMES = (
    COMPLETED,
    Outcome(Status.INCOMPLETE, incomplete_reason="max_output_tokens", usage=response.usage(1, 2, 0, 0)),
    failed_outcome("server_error", "It broke."),
)


@pytest.fixture(scope="module")
def deployment(
    postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with DeploymentStack(new_database(postgres_url, template), _valkey, tmp_path_factory.mktemp("deployment")) as stack:
        yield stack.deployment


# Relative frequencies of the operations.
OPERATION_WEIGHTS = {
    "create": 2,
    "dispatch": 1,
    "claim": 5,
    "record": 4,
    "record_without_reply": 2,
    "renew": 1,
    "end": 1,
    "hand_back": 1,
    "cancel": 1,
    "delete": 1,
    "sweep": 2,
    "advance_clocks": 2,
    "replace_worker": 2,
}
OPERATIONS = [name for name, weight in OPERATION_WEIGHTS.items() for _ in range(weight)]


class ResponseMachine(RuleBasedStateMachine):
    """Random operations on responses and attempts.

    An attempt that is never chosen again represents a crashed worker. An attempt that is chosen after a newer one has
    begun represents a worker that was frozen.
    """

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.deployment = deployment
        self.checker = deployment.checker
        self.caller = deployment.caller
        self.checker.reset()
        self.lifecycles: dict[str, Lifecycle] = {}
        self.models: dict[str, str] = {}
        self.attempts: list[WorkerAttempt] = []

    def pick_response(self, pick: int) -> str | None:
        """The ID of a response, counted from the latest."""
        return list(self.lifecycles)[-1 - pick % len(self.lifecycles)] if self.lifecycles else None

    def pick_attempt(self, pick: int) -> WorkerAttempt | None:
        return self.attempts[-1 - pick % len(self.attempts)] if self.attempts else None

    @initialize(create_count=st.integers(1, 4), claim_count=st.integers(0, 4))
    def begin(self, create_count: int, claim_count: int) -> None:
        for variant in range(create_count):
            self.create(0, variant)
        for variant in range(claim_count):
            self.claim(variant, variant)

    # One rule for all operations, because hypothesis disables some rules per example, and most scenarios need many.
    @rule(operation=st.sampled_from(OPERATIONS), pick=st.integers(0, 4), variant=st.integers(0, 5))
    def apply(self, operation: str, pick: int, variant: int) -> None:
        """Apply one operation to one of the latest responses or attempts, in one of several variants."""
        getattr(self, operation)(pick, variant)

    def create(self, _: int, variant: int) -> None:
        background, model = variant != 5, ("scripted", "narrow")[variant % 2]
        response_id = submit(self.deployment.api, self.caller, background=background, model=model)
        self.lifecycles[response_id], self.models[response_id] = Lifecycle(background), model
        self._check_dispatched()

    def dispatch(self, *_: int) -> None:
        self.deployment.sweeper.dispatch.dispatch()
        self._check_dispatched()

    def _check_dispatched(self) -> None:
        """Check the dispatched responses, and mark them in the model: dispatch may choose any response that may run."""
        dispatched_ids = self.checker.dispatched_ids()
        for response_id in dispatched_ids:
            assert self.lifecycles[response_id].status == "queued"
        for response_id, lifecycle in self.lifecycles.items():
            assert response_id in dispatched_ids or not lifecycle.is_dispatched, "a response was recalled too early"
            if response_id in dispatched_ids and not lifecycle.is_dispatched:
                lifecycle.dispatch()

    def claim(self, pick: int, variant: int) -> None:
        response_id = self.pick_response(pick)
        if response_id is None:
            return
        core = self.deployment.workers[variant % 2]
        # Both workers claim as `w1`, because a run of an unregistered worker would occupy no slot.
        is_batched = (pick + variant) % 3 == 0
        attempt = (
            core.attempts.claim_batch([response_id], "w1").get(response_id)
            if is_batched
            else core.attempts.claim(response_id, "w1")
        )
        assert (attempt is not None) == self.lifecycles[response_id].claim()
        if attempt is not None:
            assert attempt.next_seq == self.lifecycles[response_id].log_length
            self.attempts.append(WorkerAttempt(attempt, core))

    def record(self, pick: int, variant: int) -> None:
        worker_attempt = self.pick_attempt(pick)
        if worker_attempt is None:
            return
        events_batch = worker_attempt.next_batch(variant + 1)
        assert self._record(worker_attempt, events_batch) == self._expected_result(events_batch)

    def _record(self, worker_attempt: WorkerAttempt, events_batch: Batch) -> str:
        result = worker_attempt.core.attempts.append_events([events_batch])
        if result.succeeded_ids:
            worker_attempt.advance(events_batch)
        assert not result.locked_ids
        return "done" if result.succeeded_ids else "lost"

    def _expected_result(self, events_batch: Batch) -> str:
        lifecycle = self.lifecycles.get(events_batch.response_id)
        if lifecycle is None:
            return "lost"
        return lifecycle.record(events_batch.attempt, events_batch.first_seq, len(events_batch.lines))

    def record_without_reply(self, pick: int, variant: int) -> None:
        """Write a batch but lose the request or the reply; then look for the batch in the log and write it again."""
        worker_attempt = self.pick_attempt(pick)
        if worker_attempt is None:
            return
        events_batch = worker_attempt.next_batch(1)
        expected = self._expected_result(events_batch)
        request_arrives = variant % 2 == 0
        if request_arrives:
            worker_attempt.core.attempts.append_events([events_batch])
        is_recorded = worker_attempt.core.attempts.find_written([events_batch]) == [events_batch]
        if expected != "lost":
            assert is_recorded == (request_arrives and expected == "done")
        if expected == "lost":
            assert self._record(worker_attempt, events_batch) == "lost"
        elif is_recorded:
            with pytest.raises(errors.StoreUnavailable, match="already written"):
                worker_attempt.core.attempts.append_events([events_batch])
            worker_attempt.advance(events_batch)
        else:
            assert self._record(worker_attempt, events_batch) == "done"

    def renew(self, pick: int, _: int) -> None:
        worker_attempt = self.pick_attempt(pick)
        if worker_attempt is None:
            return
        result = worker_attempt.core.attempts.renew([worker_attempt.attempt_key])
        lifecycle = self.lifecycles.get(worker_attempt.attempt.response_id)
        expected = lifecycle.renew(worker_attempt.attempt.number) if lifecycle else "lost"
        assert ("done" if result.succeeded_ids else "lost") == expected
        assert not result.locked_ids

    def end(self, pick: int, variant: int) -> None:
        worker_attempt = self.pick_attempt(pick)
        if worker_attempt is None:
            return
        outcome = OUTCOMES[variant % 3]
        last_batch = (
            worker_attempt.next_batch(1) if variant > 2 else batch(worker_attempt.attempt, [], worker_attempt.next_seq)
        )
        lifecycle = self.lifecycles.get(worker_attempt.attempt.response_id)
        expected = (
            lifecycle.end(outcome.status, worker_attempt.attempt.number, len(last_batch.lines)) if lifecycle else False
        )
        if (pick + variant) % 3 == 0:
            ended_keys = worker_attempt.core.attempts.end_batch([(worker_attempt.attempt, outcome, last_batch)])
            assert ended_keys == ({worker_attempt.attempt_key} if expected else set())
        else:
            assert worker_attempt.core.attempts.end(worker_attempt.attempt, outcome, last_batch) == expected

    def hand_back(self, pick: int, variant: int) -> None:
        worker_attempt = self.pick_attempt(pick)
        if worker_attempt is None:
            return
        hand_back = HandBack("not now", awaits_server=variant % 3 > 0, unavailable=variant % 3 > 1)
        lifecycle = self.lifecycles.get(worker_attempt.attempt.response_id)
        outcome = "waited" if hand_back.awaits_server else "handed_back"
        expected = lifecycle.requeue(worker_attempt.attempt.number, outcome) if lifecycle else False
        assert worker_attempt.core.attempts.hand_back(worker_attempt.attempt, hand_back) == expected

    def cancel(self, pick: int, _: int) -> None:
        response_id = self.pick_response(pick)
        if response_id is None:
            return
        lifecycle = self.lifecycles[response_id]
        if not lifecycle.background:
            with pytest.raises(errors.InvalidRequest):
                self.deployment.api.responses.cancel(self.caller, response_id)
            return
        lifecycle.end("cancelled")
        assert json.loads(self.deployment.api.responses.cancel(self.caller, response_id))["status"] == lifecycle.status

    def delete(self, pick: int, _: int) -> None:
        response_id = self.pick_response(pick)
        if response_id is None:
            return
        if self.lifecycles[response_id].has_ended:
            self.deployment.api.responses.delete(self.caller, response_id)
            del self.lifecycles[response_id]
        else:
            with pytest.raises(errors.InvalidRequest):
                self.deployment.api.responses.delete(self.caller, response_id)

    def sweep(self, *_: int) -> None:
        self.deployment.sweeper.sweep.run()
        for lifecycle in self.lifecycles.values():
            lifecycle.sweep()
        self._check_dispatched()

    def advance_clocks(self, _: int, variant: int) -> None:
        for _ in range(8 if variant == 5 else 1 + variant // 2):
            self.checker.advance_clocks()
            for lifecycle in self.lifecycles.values():
                lifecycle.advance_clocks()

    def replace_worker(self, _: int, variant: int) -> None:
        """Expire all leases; another worker claims the latest running response if it may still run."""
        running_picks = [
            pick
            for pick, response_id in enumerate(reversed(self.lifecycles))
            if self.lifecycles[response_id].status == "in_progress"
        ]
        for clock_variant in (4, 0):  # three clock steps expire the leases; one more makes requeued responses due
            self.advance_clocks(0, clock_variant)
            self.sweep()
        for pick in running_picks[:1]:
            self.claim(pick, variant)

    @invariant()
    def database_matches_model(self) -> None:
        self.checker.check(self.lifecycles)
        self._check_polls()

    @invariant()
    def limits_are_respected(self) -> None:
        active_ids = [
            response_id
            for response_id, lifecycle in self.lifecycles.items()
            if lifecycle.status == "in_progress" or lifecycle.is_dispatched
        ]
        assert len(active_ids) <= SLOTS
        narrow_ids = [response_id for response_id in active_ids if self.models[response_id] == "narrow"]
        assert len(narrow_ids) <= NARROW_CONCURRENCY

    def _check_polls(self) -> None:
        for response_id in self.checker.changed_ids:
            document = json.loads(self.deployment.api.responses.get(self.caller, response_id)[0])
            assert document["status"] == self.lifecycles[response_id].status
            if document["status"] == "in_progress":
                log = [json.loads(line) for line in self.checker.event_lines(response_id)]
                assert document["output"] == transcript.fold(log).output


def run_machine(deployment: Deployment, *, example_count: int, step_count: int) -> None:
    run_state_machine_as_test(
        lambda: ResponseMachine(deployment),
        settings=settings(
            max_examples=example_count,
            stateful_step_count=step_count,
            derandomize=example_count < 1000,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_responses_match_the_model_after_random_operations(deployment: Deployment) -> None:
    run_machine(deployment, example_count=32, step_count=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_responses_match_the_model_after_thousands_of_random_sequences(deployment: Deployment) -> None:
    run_machine(deployment, example_count=3000, step_count=60)

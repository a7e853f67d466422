"""Runs calls of several sessions statement by statement, and checks that a serial order explains the results."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from core import bootstrap, errors
from core.bootstrap import Core
from core.runs import runs_sql
from core.runs.attempt import HandBack
from core.runs.attempts import BatchResult
from tests.conftest import new_database
from tests.harness.engine import COMPLETED, batch, submit
from tests.runs.deployment import Deployment, DeploymentStack, WorkerAttempt
from tests.runs.lifecycles import Lifecycle
from tests.runs.stepping import Session, SteppedDatabase, interleave

# Initial states of a response, and the steps that lead to them: claim (c), write (w), advance the clocks (>),
# lose the worker (l), dispatch (r), recall (q), cancel (x).
INITIAL_STATES = {
    "waiting": "q",
    "dispatched": "",
    "claim overdue": ">>",
    "running": "c",
    "running, with output": "cw",
    "lease expired": "cw>>>",
    "lease expired for the last time": "clrclrcw>>>",
    "run deadline exceeded": "cw>>>>>>>",
    "second attempt waits": "cwl",
    "second attempt is dispatched": "cwlr",
    "second attempt": "cwlrc",
    "second attempt, lease expired": "cwlrcw>>>",
    "queue deadline exceeded": ">>>>>>>>",
    "ended": "cwx",
}

# Possible outcomes of a call for one response: its result, and the state of the response (None: deleted).
PossibleOutcomes = list[tuple[Any, Lifecycle | None]]


@dataclass(frozen=True)
class Call:
    """A call as a process makes it, and for each of its transactions a function that predicts the possible outcomes."""

    name: str
    execute: Callable[[Core], dict[str, Any]]
    transactions: Sequence[Callable[[str, Lifecycle | None], PossibleOutcomes]]


@pytest.fixture(scope="module")
def deployment(
    postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "Database", SteppedDatabase)
        with DeploymentStack(new_database(postgres_url, template), _valkey, tmp_path_factory.mktemp("steps")) as stack:
            yield stack.deployment


class Scenario:
    """Two responses with their attempts, each in its initial state, and the calls of the sessions."""

    def __init__(self, deployment: Deployment, initial_states: Sequence[str]) -> None:
        self.deployment = deployment
        self.caller = deployment.caller
        self.lifecycles: dict[str, Lifecycle] = {}
        self.attempts: dict[str, list[WorkerAttempt]] = {}
        deployment.checker.reset()
        for name in initial_states:
            response_id = submit(deployment.api, self.caller)
            self.lifecycles[response_id], self.attempts[response_id] = Lifecycle(background=True), []
            for step in "r" + INITIAL_STATES[name]:
                self._apply(step, response_id, self.lifecycles[response_id])
        deployment.checker.check(self.lifecycles)
        self.next_batches = {
            response_id: [attempt.next_batch(1) for attempt in attempts]
            for response_id, attempts in self.attempts.items()
        }

    def _apply(self, step: str, response_id: str, lifecycle: Lifecycle) -> None:
        core = self.deployment.workers[0]
        if step == "q":
            self.deployment.checker.recall(response_id)
            lifecycle.is_dispatched = False
        elif step == "r":
            self.deployment.checker.mark_dispatched(response_id)
            lifecycle.dispatch()
        elif step == "c":
            attempt = core.attempts.claim(response_id, "w1")
            assert attempt is not None
            assert lifecycle.claim()
            self.attempts[response_id].append(WorkerAttempt(attempt, core))
        elif step == "w":
            recorded_batch = self.attempts[response_id][-1].next_batch(1)
            assert core.attempts.append_events([recorded_batch]).succeeded_ids
            self.attempts[response_id][-1].advance(recorded_batch)
            lifecycle.record(recorded_batch.attempt, recorded_batch.first_seq, len(recorded_batch.lines))
        elif step == "l":
            for _ in range(3):
                self._apply(">", response_id, lifecycle)
            with self.deployment.sweeper.attempts._database.connection() as connection:
                assert runs_sql.requeue(
                    connection, response_id, lifecycle.attempt, outcome="lost", cause="lost", delay_s=0
                )
            lifecycle.requeue(lifecycle.attempt, "lost")
        elif step == ">":
            self.deployment.checker.advance_clocks(response_id)
            lifecycle.advance_clocks()
        else:
            self.deployment.api.responses.cancel(self.caller, response_id)
            lifecycle.end("cancelled")

    def call(self, name: str, indexes: Sequence[int], use_first_attempt: bool) -> Call:
        """Build a call on behalf of the last attempt, or of the first attempt, of the responses at these indexes."""
        ids = [list(self.lifecycles)[index] for index in indexes]
        build_call: Callable[..., Call] = getattr(self, f"_{name}")
        return build_call(ids, 0 if use_first_attempt else -1)

    def _choose_attempts(
        self, ids: Sequence[str], attempt_index: int, limit: int | None = None
    ) -> dict[str, WorkerAttempt]:
        """Return the attempt at this index of each claimed response, for at most `limit` responses."""
        claimed_ids = [response_id for response_id in ids if self.attempts[response_id]]
        return {response_id: self.attempts[response_id][attempt_index] for response_id in claimed_ids[:limit]}

    def _record(self, ids: Sequence[str], attempt_index: int) -> Call:
        attempts = self._choose_attempts(ids, attempt_index)
        batches = {response_id: self.next_batches[response_id][attempt_index] for response_id in attempts}

        def execute(core: Core) -> dict[str, str]:
            try:
                return _results_by_id(core.attempts.append_events(list(batches.values())), batches)
            except errors.StoreUnavailable as error:
                assert "already written" in str(error)
                return dict.fromkeys(batches, "unknown")

        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id not in batches or lifecycle is None:
                return [("lost", lifecycle)]
            new_state = lifecycle.copy()
            events = batches[response_id]
            result = new_state.record(events.attempt, events.first_seq, len(events.lines))
            # Another session may hold a lock on the row; and if any batch is already stored, the entire call fails.
            outcomes = [(result, new_state), ("unknown", lifecycle)]
            return outcomes if result == "lost" else [*outcomes, ("locked", lifecycle)]

        return Call("record", execute, [predict])

    def _renew(self, ids: Sequence[str], attempt_index: int) -> Call:
        attempts = self._choose_attempts(ids, attempt_index)
        attempt_keys = {response_id: worker_attempt.attempt_key for response_id, worker_attempt in attempts.items()}

        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id not in attempt_keys or lifecycle is None:
                return [("lost", lifecycle)]
            new_state = lifecycle.copy()
            result = new_state.renew(attempts[response_id].attempt.number)
            return [(result, new_state), ("locked", lifecycle)] if result == "done" else [(result, new_state)]

        def execute(core: Core) -> dict[str, str]:
            return _results_by_id(core.attempts.renew(list(attempt_keys.values())), attempt_keys)

        return Call("renew", execute, [predict])

    def _end(self, ids: Sequence[str], attempt_index: int) -> Call:
        attempts = self._choose_attempts(ids, attempt_index, limit=1)

        def execute(core: Core) -> dict[str, bool]:
            return {
                response_id: core.attempts.end(
                    worker_attempt.attempt, COMPLETED, batch(worker_attempt.attempt, [], worker_attempt.next_seq)
                )
                for response_id, worker_attempt in attempts.items()
            }

        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id not in attempts or lifecycle is None:
                return [(False, lifecycle)]
            new_state = lifecycle.copy()
            return [(new_state.end("completed", attempts[response_id].attempt.number), new_state)]

        return Call("end", execute, [predict])

    def _end_batch(self, ids: Sequence[str], attempt_index: int) -> Call:
        attempts = self._choose_attempts(ids, attempt_index)
        ends = [
            (worker_attempt.attempt, COMPLETED, batch(worker_attempt.attempt, [], worker_attempt.next_seq))
            for worker_attempt in attempts.values()
        ]

        def execute(core: Core) -> dict[str, bool]:
            return dict.fromkeys(attempts, False) | dict.fromkeys(dict(core.attempts.end_batch(ends)), True)

        predict = self._predict_batched_call(ids, False, lambda response_id: self._end([response_id], attempt_index))
        return Call("end batch", execute, [predict])

    def _predict_batched_call(
        self, ids: Sequence[str], skipped_result: Any, build_call: Callable[[str], Call]
    ) -> Callable[..., PossibleOutcomes]:
        """Predict a batched call: it acts like one call per response, but may skip locked rows."""
        return lambda response_id, lifecycle: [
            *(build_call(response_id).transactions[0](response_id, lifecycle) if response_id in ids else []),
            (skipped_result, lifecycle),
        ]

    def _hand_back(self, ids: Sequence[str], attempt_index: int) -> Call:
        attempts = self._choose_attempts(ids, attempt_index, limit=1)

        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id not in attempts or lifecycle is None:
                return [(False, lifecycle)]
            new_state = lifecycle.copy()
            return [(new_state.requeue(attempts[response_id].attempt.number, "waited"), new_state)]

        def execute(core: Core) -> dict[str, bool]:
            return {
                response_id: core.attempts.hand_back(
                    worker_attempt.attempt, HandBack("unavailable", awaits_server=True, unavailable=True)
                )
                for response_id, worker_attempt in attempts.items()
            }

        return Call("hand back", execute, [predict])

    def _claim(self, ids: Sequence[str], _: int) -> Call:
        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            new_state = lifecycle and lifecycle.copy()
            if response_id != ids[0] or new_state is None or not new_state.claim():
                return [(None, lifecycle)]
            return [((new_state.attempt, new_state.log_length), new_state)]

        def execute(core: Core) -> dict[str, Any]:
            attempt = core.attempts.claim(ids[0], "w2")
            return {ids[0]: attempt and (attempt.number, attempt.next_seq)}

        return Call("claim", execute, [predict])

    def _claim_batch(self, ids: Sequence[str], attempt_index: int) -> Call:
        def execute(core: Core) -> dict[str, Any]:
            attempts = core.attempts.claim_batch(ids, "w2")
            return {response_id: (attempt.number, attempt.next_seq) for response_id, attempt in attempts.items()}

        predict = self._predict_batched_call(ids, None, lambda response_id: self._claim([response_id], attempt_index))
        return Call("claim batch", execute, [predict])

    def _cancel(self, ids: Sequence[str], _: int) -> Call:
        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id != ids[0]:
                return [(None, lifecycle)]
            if lifecycle is None:
                return [("not found", None)]
            new_state = lifecycle.copy()
            new_state.end("cancelled")
            return [(new_state.status, new_state)]

        def execute(core: Core) -> dict[str, str]:
            try:
                return {ids[0]: json.loads(core.responses.cancel(self.caller, ids[0]))["status"]}
            except errors.NotFound:
                return {ids[0]: "not found"}

        return Call("cancel", execute, [predict])

    def _delete(self, ids: Sequence[str], _: int) -> Call:
        def predict(response_id: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            if response_id != ids[0]:
                return [(None, lifecycle)]
            if lifecycle is None:
                return [("not found", None), ("deleted", None)]
            return [("deleted", None)] if lifecycle.has_ended else [("refused", lifecycle)]

        def execute(core: Core) -> dict[str, str]:
            try:
                core.responses.delete(self.caller, ids[0])
            except errors.NotFound:
                return {ids[0]: "not found"}
            except errors.InvalidRequest:
                return {ids[0]: "refused"}
            return {ids[0]: "deleted"}

        return Call("delete", execute, [predict])

    def _sweep(self, *_: object) -> Call:
        def predict_sweep(_: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
            new_state = lifecycle and lifecycle.copy()
            if new_state is not None:
                new_state.sweep()
            return [(None, new_state), (None, lifecycle)]  # the sweep skips rows locked by other sessions

        def execute(core: Core) -> dict[str, Any]:
            core.sweep.run()
            return {}

        return Call("sweep", execute, [predict_sweep, _predict_dispatch])

    def _dispatch(self, *_: object) -> Call:
        def execute(core: Core) -> dict[str, Any]:
            core.dispatch.dispatch()
            return {}

        return Call("dispatch", execute, [_predict_dispatch])


def _predict_dispatch(_: str, lifecycle: Lifecycle | None) -> PossibleOutcomes:
    """Predict a dispatch, which may choose any waiting response."""
    if lifecycle is None or lifecycle.status != "queued" or lifecycle.is_dispatched:
        return [(None, lifecycle)]
    new_state = lifecycle.copy()
    new_state.dispatch()
    return [(None, new_state), (None, lifecycle)]


def _results_by_id(result: BatchResult, ids: Iterable[str]) -> dict[str, str]:
    def result_for(response_id: str) -> str:
        if response_id in result.succeeded_ids:
            return "done"
        return "locked" if response_id in result.locked_ids else "lost"

    return {response_id: result_for(response_id) for response_id in ids}


# The transactions of a session, each with its recorded result.
Program = list[tuple[Callable[[str, Lifecycle | None], PossibleOutcomes], Any]]


def is_serializable(
    response_id: str, lifecycle: Lifecycle | None, programs: list[Program], final_lifecycle: Lifecycle | None
) -> bool:
    """Whether the transactions, in any serial order, produce the recorded results and the final state."""
    if not any(programs):
        return _comparable_state(lifecycle) == _comparable_state(final_lifecycle)
    for index, program in enumerate(programs):
        if program:
            (transaction, recorded_result), *later_transactions = program
            remaining = [*programs[:index], later_transactions, *programs[index + 1 :]]
            for result, new_state in transaction(response_id, lifecycle):
                if result == recorded_result and is_serializable(response_id, new_state, remaining, final_lifecycle):
                    return True
    return False


def _comparable_state(lifecycle: Lifecycle | None) -> Any:
    return lifecycle and (
        lifecycle.status,
        lifecycle.attempt,
        lifecycle.failures,
        lifecycle.waits,
        lifecycle.is_dispatched,
        lifecycle.outcomes,
        lifecycle.has_ended or lifecycle.log_length,
    )


def check_serializability(
    deployment: Deployment, initial_states: tuple[str, str], programs: list[list[Any]], schedule: list[int]
) -> None:
    """Run a program of calls in each session; assert that a serial order explains all results and the final state."""
    scenario = Scenario(deployment, initial_states)
    calls = [[scenario.call(*call) for call in program] for program in programs]
    cores = (*deployment.workers, deployment.api)
    sessions = [
        Session(*[lambda call=call, core=core: call.execute(core) for call in program])
        for core, program in zip(cores, calls, strict=False)
    ]
    interleave(sessions, schedule, deployment.monitor)

    for session in sessions:
        for result in session.results:
            assert isinstance(result, dict), result  # no deadlock, and no other unexpected error
    final_lifecycles = deployment.checker.read_lifecycles()
    for response_id, lifecycle in scenario.lifecycles.items():
        history = [
            _recorded_program(program, session.results, response_id)
            for program, session in zip(calls, sessions, strict=True)
        ]
        results = [session.results for session in sessions]
        final_lifecycle = final_lifecycles.get(response_id)
        assert is_serializable(response_id, lifecycle, history, final_lifecycle), (lifecycle, final_lifecycle, results)
    deployment.checker.check(final_lifecycles)


def _recorded_program(calls: list[Call], results: list[dict[str, Any]], response_id: str) -> Program:
    """The transactions of a session's calls; the result of a call belongs to its last transaction."""
    program: Program = []
    for call, result in zip(calls, results, strict=True):
        *earlier_transactions, last_transaction = call.transactions
        program += [(transaction, None) for transaction in earlier_transactions]
        program.append((last_transaction, result.get(response_id, _empty_result(call))))
    return program


def _empty_result(call: Call) -> Any:
    """The result of a call for a response that the call does not include."""
    return {"record": "lost", "renew": "lost", "end": False, "end batch": False, "hand back": False}.get(call.name)

"""Claims, attempt_keys, leases and ends of responses on a real Postgres."""

import json

import psycopg
import pytest

from core.bootstrap import Core
from core.runs.attempt import HandBack
from core.runs.attempts import Batch, BatchResult
from core.runs.ends import failed_outcome
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import (
    COMPLETED,
    batch,
    claim,
    create_caller,
    opening_batch,
    register_worker,
    run_concurrently,
    sql,
    submit,
)

WORKER_COUNT = 8
EMPTY_RESULT = BatchResult(set(), set())


def read_document(core: Core, owner: Caller, response_id: str) -> dict:
    document, _ = core.responses.get(owner, response_id)
    return json.loads(document)


def test_only_one_of_many_workers_claims_a_response(core: Core) -> None:
    owner = create_caller(core)
    for _ in range(20):
        register_worker(core)
        response_id = submit(core, owner)

        claims = run_concurrently(*[lambda n=n: core.attempts.claim(response_id, f"w{n}") for n in range(WORKER_COUNT)])

        assert sum(attempt is not None for attempt in claims) == 1


def test_an_undispatched_response_cannot_be_claimed(core: Core) -> None:
    response_id = submit(core, create_caller(core))  # not dispatched, because no worker is registered

    assert core.attempts.claim(response_id, "w1") is None


def test_a_simultaneous_cancel_and_end_store_one_terminal_event_and_one_document(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    owner = create_caller(core)
    for _ in range(20):
        attempt = claim(core, submit(core, owner))
        last_batch = opening_batch(attempt)

        cancelled_document, has_ended = run_concurrently(
            lambda: json.loads(core.responses.cancel(owner, attempt.response_id)),
            lambda: core.attempts.end(attempt, COMPLETED, last_batch),
        )

        document = read_document(core, owner, attempt.response_id)
        assert document["status"] == ("completed" if has_ended else "cancelled")
        assert cancelled_document == document
        terminal_events = sql(
            settings,
            "select count(*) from response_events where response_id = %s and data ~ 'response.(completed|failed)\"'",
            attempt.response_id,
        )
        assert terminal_events == [(1,)]


def test_a_cancelled_response_keeps_its_partial_output_as_incomplete(core: Core) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))
    core.attempts.append_events([opening_batch(attempt, "Once upon")])

    final_document = json.loads(core.responses.cancel(owner, attempt.response_id))

    assert final_document["status"] == "cancelled"
    assert final_document["output"][0]["status"] == "incomplete"
    assert final_document["output"][0]["content"][0]["text"] == "Once upon"
    assert final_document["error"] is None


def test_a_worker_cannot_write_to_a_cancelled_response(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))
    core.responses.cancel(owner, attempt.response_id)
    events = sql(settings, "select * from response_events order by first_seq")

    assert core.attempts.append_events([opening_batch(attempt)]) == EMPTY_RESULT
    assert core.attempts.renew([(attempt.response_id, attempt.number)]) == EMPTY_RESULT
    assert not core.attempts.end(attempt, COMPLETED, opening_batch(attempt))
    assert not core.attempts.hand_back(attempt, HandBack("no"))

    assert sql(settings, "select * from response_events order by first_seq") == events


def test_an_older_attempt_cannot_write_after_a_newer_attempt_has_begun(core: Core, settings: Settings) -> None:
    register_worker(core)
    old_attempt = claim(core, submit(core, create_caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s'")
    core.sweep.run()
    sql(settings, "update responses set available_at = now(), dispatched_at = now()")
    new_attempt = claim(core, old_attempt.response_id, "w2")
    response_id = new_attempt.response_id

    assert new_attempt.number == 2
    assert core.attempts.append_events([opening_batch(old_attempt)]) == EMPTY_RESULT
    assert core.attempts.renew([(response_id, 1), (response_id, 2)]) == BatchResult({response_id}, set())
    assert not core.attempts.end(old_attempt, COMPLETED, batch(old_attempt, []))
    assert core.attempts.append_events([opening_batch(new_attempt)]).succeeded_ids == {response_id}


def test_a_committed_batch_is_found_in_the_log(core: Core) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    written_batch = opening_batch(attempt)
    unwritten_batch = Batch(attempt.response_id, attempt.number, written_batch.next_seq, written_batch.lines[:1])

    core.attempts.append_events([written_batch])

    assert core.attempts.find_written([written_batch]) == [written_batch]
    assert core.attempts.find_written([unwritten_batch]) == []


def test_a_batch_of_events_is_written_only_for_current_attempts(core: Core) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(10)]
    core.responses.cancel(owner, attempts[3].response_id)

    written_ids = core.attempts.append_events([opening_batch(attempt) for attempt in attempts]).succeeded_ids

    assert written_ids == {attempt.response_id for attempt in attempts} - {attempts[3].response_id}


def test_renewals_flushes_sweeps_and_dispatches_never_deadlock(core: Core) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(20)]
    attempt_keys = [(attempt.response_id, attempt.number) for attempt in attempts]

    def record() -> None:
        for first_seq in range(2, 22):
            core.attempts.append_events([batch(attempt, [{"type": "x"}], first_seq) for attempt in reversed(attempts)])

    run_concurrently(
        record,
        lambda: [core.attempts.renew(attempt_keys) for _ in range(20)],
        lambda: [core.attempts.renew(attempt_keys[::-1]) for _ in range(20)],
        lambda: [core.sweep.run() for _ in range(20)],
        lambda: [core.dispatch.dispatch() for _ in range(20)],
    )


def test_postgres_rejects_a_decrease_of_the_attempt_number(core: Core, settings: Settings) -> None:
    register_worker(core)
    claim(core, submit(core, create_caller(core)))

    with pytest.raises(psycopg.errors.CheckViolation, match="go back"):
        sql(settings, "update responses set attempt = 0")


def test_a_lease_is_renewed_only_until_the_runs_deadline(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    sql(settings, "update responses set run_until = now() - interval '1 s'")

    assert core.attempts.renew([(attempt.response_id, attempt.number)]) == EMPTY_RESULT


def test_the_sweeper_fails_an_overdue_run_and_keeps_its_partial_output(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))
    core.attempts.append_events([opening_batch(attempt, "Half")])
    sql(settings, "update responses set run_until = now() - interval '1 s'")

    core.sweep.run()

    final_document = read_document(core, owner, attempt.response_id)
    assert final_document["status"] == "failed"
    assert final_document["error"]["code"] == "server_error"
    assert final_document["output"][0]["content"][0]["text"] == "Half"


def test_the_sweeper_fails_a_response_that_waited_past_its_deadline(core: Core, settings: Settings) -> None:
    owner = create_caller(core)
    response_id = submit(core, owner)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    final_document = read_document(core, owner, response_id)
    assert final_document["status"] == "failed"
    assert "No worker was free" in final_document["error"]["message"]


def test_a_response_that_gets_only_429_until_its_deadline_fails_as_rate_limited(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))
    core.attempts.hand_back(
        attempt,
        HandBack("The model server answered 429: slow down", awaits_server=True, error_code="rate_limit_exceeded"),
    )
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    final_document = read_document(core, owner, attempt.response_id)
    assert final_document["error"]["code"] == "rate_limit_exceeded"
    assert "429" in final_document["error"]["message"]


def test_the_sweeper_continues_after_a_row_that_it_cannot_end(core: Core, settings: Settings) -> None:
    owner = create_caller(core)
    broken_id, valid_id = submit(core, owner), submit(core, owner)
    sql(settings, "update responses set document = 'not json' where id = %s", broken_id)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    assert read_document(core, owner, valid_id)["status"] == "failed"


def test_concurrent_sweepers_end_each_response_once(core: Core, settings: Settings) -> None:
    owner = create_caller(core)
    ids = [submit(core, owner) for _ in range(120)]
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    run_concurrently(*[core.sweep.run] * 4)

    assert sql(settings, "select count(*) from responses where status = 'failed'") == [(len(ids),)]
    assert sql(settings, "select count(*) from response_events where data ~ 'response.failed'") == [(len(ids),)]


def test_waits_and_hand_backs_do_not_add_to_the_failures(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    for awaits_server in (True, False) * 5:
        attempt = claim(core, response_id)
        assert core.attempts.hand_back(attempt, HandBack("not now", awaits_server=awaits_server))
        sql(settings, "update responses set dispatched_at = now()")

    assert sql(settings, "select failures, waits, attempt from responses") == [(0, 5, 10)]


def test_a_failure_stores_its_code_in_the_document_and_its_cause_in_the_attempt(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))

    core.attempts.end(
        attempt, failed_outcome("server_error", "It broke.", cause="a precise cause"), opening_batch(attempt)
    )

    assert read_document(core, owner, attempt.response_id)["error"] == {
        "code": "server_error",
        "message": "It broke.",
    }
    assert sql(settings, "select outcome, cause from attempts") == [("failed", "a precise cause")]


def test_a_create_on_a_dead_database_connection_is_retried_and_stored_once(core: Core, settings: Settings) -> None:
    owner = create_caller(core)
    submit(core, owner)
    sql(
        settings,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = ''"
        " and datname = current_database() and pid <> pg_backend_pid()",
    )

    submit(core, owner)

    assert sql(settings, "select count(*) from responses") == [(2,)]

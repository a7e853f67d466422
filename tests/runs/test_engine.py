"""The state machine on a real Postgres: claims, fences, leases, ends."""

import json

import psycopg
import pytest

from core.bootstrap import Core
from core.runs.attempts import Batch, BatchResult, HandBack
from core.runs.ends import failed
from core.settings import Settings
from tests.harness.engine import COMPLETED, at_once, batch, caller, claim, opening, sql, submit, worker

MANY = 8
NOTHING = BatchResult(set(), set())


def test_only_one_of_many_workers_claims_a_response(core: Core) -> None:
    who = caller(core)
    for _ in range(20):
        worker(core)
        response_id = submit(core, who)

        claims = at_once(*[lambda n=n: core.attempts.claim(response_id, f"w{n}") for n in range(MANY)])

        assert sum(attempt is not None for attempt in claims) == 1


def test_a_response_that_was_not_rung_cannot_be_claimed(core: Core) -> None:
    response_id = submit(core, caller(core))  # no worker is registered, so the response waits

    assert core.attempts.claim(response_id, "w1") is None


def test_a_cancel_and_a_finish_at_once_leave_one_end_and_one_document(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    for _ in range(20):
        attempt = claim(core, submit(core, who))
        tail = opening(attempt)

        cancelled, finished = at_once(
            lambda: json.loads(core.responses.cancel(who, attempt.response_id)),
            lambda: core.attempts.end(attempt, COMPLETED, tail),
        )

        stored = json.loads(core.responses.get(who, attempt.response_id)[0])
        assert stored["status"] == ("completed" if finished else "cancelled")
        assert cancelled == stored
        ends = sql(
            settings,
            "select count(*) from response_events where response_id = %s and data ~ 'response.(completed|failed)\"'",
            attempt.response_id,
        )
        assert ends == [(1,)]


def test_a_cancelled_response_keeps_what_was_written_and_marks_it_incomplete(core: Core) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    core.attempts.record([opening(attempt, "Once upon")])

    final = json.loads(core.responses.cancel(who, attempt.response_id))

    assert final["status"] == "cancelled"
    assert final["output"][0]["status"] == "incomplete"
    assert final["output"][0]["content"][0]["text"] == "Once upon"
    assert final["error"] is None


def test_a_worker_whose_response_was_cancelled_can_write_nothing_more(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    core.responses.cancel(who, attempt.response_id)
    before = sql(settings, "select * from response_events order by first_seq")

    assert core.attempts.record([opening(attempt)]) == NOTHING
    assert core.attempts.renew([(attempt.response_id, attempt.number)]) == NOTHING
    assert not core.attempts.end(attempt, COMPLETED, opening(attempt))
    assert not core.attempts.hand_back(attempt, HandBack("no"))

    assert sql(settings, "select * from response_events order by first_seq") == before


def test_an_older_attempt_can_write_nothing_once_a_newer_one_holds_the_response(core: Core, settings: Settings) -> None:
    worker(core)
    old = claim(core, submit(core, caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s'")
    core.sweep.run()
    sql(settings, "update responses set available_at = now(), dispatched_at = now()")
    new = claim(core, old.response_id, "w2")

    assert new.number == 2
    assert core.attempts.record([opening(old)]) == NOTHING
    assert core.attempts.renew([(old.response_id, 1), (new.response_id, 2)]) == BatchResult({new.response_id}, set())
    assert not core.attempts.end(old, COMPLETED, batch(old, []))
    assert core.attempts.record([opening(new)]).done == {new.response_id}


def test_a_batch_whose_commit_was_lost_sight_of_is_found_in_the_log(core: Core) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    first = opening(attempt)
    second = Batch(attempt.response_id, attempt.number, first.next_seq, first.lines[:1])

    core.attempts.record([first])

    assert core.attempts.recorded([first]) == [first]
    assert core.attempts.recorded([second]) == []


def test_events_of_many_responses_are_written_together_and_only_for_their_holders(core: Core) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(10)]
    core.responses.cancel(who, attempts[3].response_id)

    held = core.attempts.record([opening(attempt) for attempt in attempts]).done

    assert held == {attempt.response_id for attempt in attempts} - {attempts[3].response_id}


def test_renewals_and_flushes_and_ends_of_the_same_responses_never_deadlock(core: Core) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(20)]
    fences = [(attempt.response_id, attempt.number) for attempt in attempts]

    def record() -> None:
        for number in range(20):
            sequence = 2 + number
            core.attempts.record([batch(attempt, [{"type": "x"}], sequence) for attempt in reversed(attempts)])

    at_once(
        record,
        lambda: [core.attempts.renew(fences) for _ in range(20)],
        lambda: [core.attempts.renew(fences[::-1]) for _ in range(20)],
        lambda: [core.sweep.run() for _ in range(20)],
        lambda: [core.dispatch.dispatch() for _ in range(20)],
    )


@pytest.mark.parametrize(
    "change",
    [
        "status = 'queued', finished_at = null",
        "document = '{}'",
        "finished_at = now() + interval '1 s'",
        "attempt = attempt + 1",
    ],
)
def test_postgres_itself_refuses_to_change_a_response_that_ended(core: Core, settings: Settings, change: str) -> None:
    who = caller(core)
    core.responses.cancel(who, submit(core, who))

    with pytest.raises(psycopg.errors.CheckViolation, match="cannot change"):
        sql(settings, f"update responses set {change}")


def test_postgres_itself_refuses_an_attempt_that_goes_back(core: Core, settings: Settings) -> None:
    worker(core)
    claim(core, submit(core, caller(core)))

    with pytest.raises(psycopg.errors.CheckViolation, match="go back"):
        sql(settings, "update responses set attempt = 0")


def test_a_lease_is_renewed_only_until_the_runs_deadline(core: Core, settings: Settings) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    sql(settings, "update responses set run_until = now() - interval '1 s'")

    assert core.attempts.renew([(attempt.response_id, attempt.number)]) == NOTHING


def test_the_sweeper_ends_a_run_past_its_deadline_as_failed_with_what_was_written(
    core: Core, settings: Settings
) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    core.attempts.record([opening(attempt, "Half")])
    sql(settings, "update responses set run_until = now() - interval '1 s'")

    core.sweep.run()

    final = json.loads(core.responses.get(who, attempt.response_id)[0])
    assert final["status"] == "failed"
    assert final["error"]["code"] == "server_error"
    assert final["output"][0]["content"][0]["text"] == "Half"


def test_the_sweeper_fails_a_response_that_waited_past_its_deadline(core: Core, settings: Settings) -> None:
    who = caller(core)
    response_id = submit(core, who)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    final = json.loads(core.responses.get(who, response_id)[0])
    assert final["status"] == "failed"
    assert "No worker was free" in final["error"]["message"]


def test_a_response_refused_as_too_many_until_its_deadline_fails_as_rate_limited(
    core: Core, settings: Settings
) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    core.attempts.hand_back(
        attempt, HandBack("The model server answered 429: slow down", waited=True, error_code="rate_limit_exceeded")
    )
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    final = json.loads(core.responses.get(who, attempt.response_id)[0])
    assert final["error"]["code"] == "rate_limit_exceeded"
    assert "429" in final["error"]["message"]


def test_the_sweeper_goes_on_after_a_row_it_cannot_end(core: Core, settings: Settings) -> None:
    who = caller(core)
    broken, good = submit(core, who), submit(core, who)
    sql(settings, "update responses set document = 'not json' where id = %s", broken)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    core.sweep.run()

    assert json.loads(core.responses.get(who, good)[0])["status"] == "failed"


def test_many_sweepers_at_once_end_each_response_once(core: Core, settings: Settings) -> None:
    who = caller(core)
    ids = [submit(core, who) for _ in range(120)]
    sql(settings, "update responses set queued_until = now() - interval '1 s'")

    at_once(*[core.sweep.run] * 4)

    assert sql(settings, "select count(*) from responses where status = 'failed'") == [(len(ids),)]
    ends = sql(settings, "select response_id from response_events where data ~ 'response.failed' group by 1")
    assert len(ends) == len(ids)


def test_waiting_for_the_model_server_and_being_handed_back_cost_nothing_of_the_failure_budget(
    core: Core, settings: Settings
) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    for waited in (True, False) * 5:
        attempt = claim(core, response_id)
        assert core.attempts.hand_back(attempt, HandBack("not now", waited=waited))
        sql(settings, "update responses set dispatched_at = now()")

    assert sql(settings, "select failures, waits, attempt from responses") == [(0, 5, 10)]


def test_a_failure_says_its_code_in_the_document_and_its_cause_in_the_history(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))

    core.attempts.end(attempt, failed("server_error", "It broke.", cause="a precise cause"), opening(attempt))

    assert json.loads(core.responses.get(who, attempt.response_id)[0])["error"] == {
        "code": "server_error",
        "message": "It broke.",
    }
    assert sql(settings, "select outcome, cause from attempts") == [("failed", "a precise cause")]


def test_a_create_whose_answer_was_lost_on_the_way_is_stored_once(core: Core, settings: Settings) -> None:
    """A pooled connection that dies between two creates costs a retry, not a second row."""
    who = caller(core)
    submit(core, who)
    sql(
        settings,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = ''"
        " and datname = current_database() and pid <> pg_backend_pid()",
    )

    submit(core, who)

    assert sql(settings, "select count(*) from responses") == [(2,)]

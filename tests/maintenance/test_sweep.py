"""Sweeper rounds: no failing row or step prevents the others from running."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.bootstrap import Core
from core.maintenance.chore import BATCH
from core.responses import responses_sql
from core.runs import ends_sql
from core.runs.attempts import HandBack
from core.settings import Settings
from core.streams import followers_sql
from tests.harness.engine import COMPLETED, caller, claim, opening, sql, submit, worker
from tests.harness.waiting import until


def test_more_broken_rows_than_a_batch_do_not_keep_the_others_from_their_end(core: Core, settings: Settings) -> None:
    who = caller(core)
    for _ in range(BATCH + 5):
        submit(core, who)
    sql(settings, "update responses set document = 'not json', queued_until = now() - interval '2 s'")
    good = submit(core, who)
    sql(settings, "update responses set queued_until = now() - interval '1 s' where id = %s", good)

    core.sweep.run()

    assert json.loads(core.responses.get(who, good)[0])["status"] == "failed"
    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(BATCH + 5,)]


def test_a_table_that_is_locked_holds_up_its_own_cleaning_only(core: Core, settings: Settings) -> None:
    who = caller(core)
    overdue = submit(core, who)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    with psycopg.connect(settings.database_url.get_secret_value()) as other:
        other.execute("lock table workers in share mode")  # as a stuck migration or dump would
        with ThreadPoolExecutor(1) as thread:
            round_ = thread.submit(core.sweep.run)
            until(lambda: core.responses.get(who, overdue)[1])
            other.rollback()
            round_.result()


def test_cleaning_takes_a_few_at_a_time_until_all_is_clean(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    for _ in range(7):
        attempt = claim(core, submit(core, who, store=False, background=False))
        core.attempts.end(attempt, COMPLETED, opening(attempt))

    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        assert [responses_sql.delete_unstored(connection, 0, 3) for _ in range(4)] == [3, 3, 1, 0]


def test_a_response_somebody_came_back_for_in_time_is_not_cancelled(core: Core, settings: Settings) -> None:
    response_id = submit(core, caller(core), background=False)
    sql(settings, "update responses set followed_until = now() - interval '1 s'")
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        assert followers_sql.left(connection, 10) == [response_id]
        followers_sql.renew(connection, [response_id], 15)

        # The sweeper checks again under the row lock.
        row = ends_sql.lock(connection, response_id)
    assert row is not None
    assert not row.left


def test_a_foreground_response_nobody_follows_is_cancelled(core: Core, settings: Settings) -> None:
    submit(core, caller(core), background=False)
    sql(settings, "update responses set followed_until = now() - interval '1 s'")

    core.sweep.run()

    assert sql(settings, "select status from responses") == [("cancelled",)]


def test_what_was_lost_may_wait_until_the_end_of_the_whole(core: Core, settings: Settings) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s', queued_until = now() + interval '1 s'")

    core.sweep.run()

    assert sql(settings, "select status, failures, queued_until = ends_by from responses") == [("queued", 1, True)]
    assert sql(settings, "select outcome, cause from attempts") == [("lost", "the lease expired")]
    assert attempt.number == 1


def test_what_waits_for_its_model_server_keeps_the_clock_of_the_queue(core: Core, settings: Settings) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    (before,) = sql(settings, "select queued_until from responses")

    core.attempts.hand_back(attempt, HandBack("away", waited=True, delay_s=5))

    assert sql(settings, "select queued_until, available_at > now() + interval '4 s' from responses") == [
        (*before, True)
    ]


def test_a_run_ends_with_the_whole_if_that_is_earlier(core: Core, settings: Settings) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    sql(settings, "update responses set ends_by = now() + interval '7 s'")

    attempt = claim(core, response_id)

    assert 0 < attempt.left_s <= 7
    assert sql(settings, "select run_until = ends_by from responses") == [(True,)]


@pytest.mark.parametrize(("failures", "least_s", "most_s"), [(0, 0.5, 1), (1, 1, 2)])
def test_each_lost_lease_doubles_the_wait_and_jitter_spreads_it(
    core: Core, settings: Settings, failures: int, least_s: float, most_s: float
) -> None:
    worker(core)
    who = caller(core)
    for _ in range(12):
        claim(core, submit(core, who))
    sql(settings, "update responses set failures = %s, lease_until = now() - interval '1 s'", failures)

    core.sweep.run()

    waits = [
        row[0]
        for row in sql(
            settings,
            "select extract(epoch from r.available_at - a.ended_at)::float from responses r"
            " join attempts a on a.response_id = r.id",
        )
    ]
    assert len(waits) == 12
    assert all(least_s <= wait <= most_s for wait in waits)
    assert len(set(waits)) > 6


def test_a_budget_that_is_spent_ends_the_response(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    sql(settings, "update responses set failures = %s, lease_until = now() - interval '1 s'", settings.max_failures - 1)

    core.sweep.run()

    final = json.loads(core.responses.get(who, attempt.response_id)[0])
    assert final["status"] == "failed"
    assert final["error"]["message"] == "The worker running this response was lost 3 times."
    assert sql(settings, "select outcome from attempts") == [("failed",)]


def test_sweepers_that_clean_the_same_rows_at_once_never_deadlock(core: Core, settings: Settings) -> None:
    sql(
        settings,
        "insert into workers (id, hostname, pid, lanes, slots, seen_at) select 'w' || n, 'h', n, '{default}', 1,"
        " now() - interval '1 hour' from generate_series(1, 300) n",
    )
    with ThreadPoolExecutor(4) as threads:
        for round_ in [threads.submit(core.sweep.run) for _ in range(8)]:
            round_.result()

    assert sql(settings, "select count(*) from workers") == [(0,)]

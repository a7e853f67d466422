"""Rounds of the sweeper: the responses that they end or requeue and the rows that they delete."""

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from core.bootstrap import Core
from core.maintenance.chore import BATCH_SIZE
from core.responses import responses_sql
from core.runs import ends_sql
from core.runs.attempt import HandBack
from core.settings import Settings
from core.streams import followers_sql
from core.tenants.keys import Caller
from tests.harness.engine import COMPLETED, claim, create_caller, opening_batch, register_worker, sql, submit
from tests.harness.waiting import until


def read_document(core: Core, client: Caller, response_id: str) -> dict:
    document, _ = core.responses.get(client, response_id)
    return json.loads(document)


def test_a_full_batch_of_invalid_rows_does_not_block_the_end_of_other_responses(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    for _ in range(BATCH_SIZE + 5):
        submit(core, client)
    sql(settings, "update responses set document = 'not json', queued_until = now() - interval '2 s'")
    valid_id = submit(core, client)
    sql(settings, "update responses set queued_until = now() - interval '1 s' where id = %s", valid_id)

    core.sweep.run()

    assert read_document(core, client, valid_id)["status"] == "failed"
    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(BATCH_SIZE + 5,)]


def test_a_locked_table_of_workers_does_not_delay_the_end_of_a_response(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    overdue_id = submit(core, client)
    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("lock table workers in share mode")  # as a stuck migration or dump would
        with ThreadPoolExecutor(1) as thread:
            future = thread.submit(core.sweep.run)
            until(lambda: read_document(core, client, overdue_id)["status"] == "failed")
            connection.rollback()
            future.result()


def test_unstored_responses_are_deleted_in_batches_until_none_remains(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    for _ in range(7):
        attempt = claim(core, submit(core, client, store=False, background=False))
        core.attempts.end(attempt, COMPLETED, opening_batch(attempt))

    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        assert [responses_sql.delete_unstored(connection, 0, 3) for _ in range(4)] == [3, 3, 1, 0]


def test_a_response_with_a_renewed_followed_until_is_not_cancelled(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core), background=False)
    sql(settings, "update responses set followed_until = now() - interval '1 s'")
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        assert followers_sql.select_orphans(connection, 10) == [response_id]
        followers_sql.renew(connection, [response_id], 15)

        # The sweeper reads the row again under its lock.
        row = ends_sql.lock(connection, response_id)
    assert row is not None
    assert not row.is_orphan


def test_a_foreground_response_without_a_client_is_cancelled(core: Core, settings: Settings) -> None:
    submit(core, create_caller(core), background=False)
    sql(settings, "update responses set followed_until = now() - interval '1 s'")

    core.sweep.run()

    assert sql(settings, "select status from responses") == [("cancelled",)]


def test_a_lost_response_may_wait_until_its_final_deadline(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s', queued_until = now() + interval '1 s'")

    core.sweep.run()

    assert sql(settings, "select status, failures, queued_until = ends_by from responses") == [("queued", 1, True)]
    assert sql(settings, "select outcome, cause from attempts") == [("lost", "the lease expired")]
    assert attempt.number == 1


def test_a_wait_for_the_model_server_does_not_change_the_queue_deadline(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    ((queued_until,),) = sql(settings, "select queued_until from responses")

    core.attempts.hand_back(attempt, HandBack("The server is busy.", awaits_server=True, delay_s=5))

    assert sql(settings, "select queued_until, available_at > now() + interval '4 s' from responses") == [
        (queued_until, True)
    ]


def test_a_run_ends_at_the_final_deadline_if_that_is_earlier(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set ends_by = now() + interval '7 s'")

    attempt = claim(core, response_id)

    assert 0 < attempt.remaining_s <= 7
    assert sql(settings, "select run_until = ends_by from responses") == [(True,)]


@pytest.mark.parametrize(("failures", "min_s", "max_s"), [(0, 0.5, 1), (1, 1, 2)])
def test_each_lost_lease_doubles_the_random_delay_before_the_next_attempt(
    core: Core, settings: Settings, failures: int, min_s: float, max_s: float
) -> None:
    register_worker(core)
    client = create_caller(core)
    for _ in range(12):
        claim(core, submit(core, client))
    sql(settings, "update responses set failures = %s, lease_until = now() - interval '1 s'", failures)

    core.sweep.run()

    rows = sql(
        settings,
        "select extract(epoch from r.available_at - a.ended_at)::float from responses r"
        " join attempts a on a.response_id = r.id",
    )
    delays_s = [delay_s for (delay_s,) in rows]
    assert len(delays_s) == 12
    assert all(min_s <= delay_s <= max_s for delay_s in delays_s)
    assert len(set(delays_s)) > 6  # the delays are random


def test_a_response_fails_after_the_maximum_number_of_lost_leases(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    attempt = claim(core, submit(core, client))
    sql(settings, "update responses set failures = %s, lease_until = now() - interval '1 s'", settings.max_failures - 1)

    core.sweep.run()

    document = read_document(core, client, attempt.response_id)
    assert document["status"] == "failed"
    assert document["error"]["message"] == "The worker running this response was lost 3 times."
    assert sql(settings, "select outcome from attempts") == [("failed",)]


def test_concurrent_sweepers_that_delete_the_same_rows_do_not_deadlock(core: Core, settings: Settings) -> None:
    sql(
        settings,
        "insert into workers (id, hostname, pid, lanes, slots, seen_at) select 'w' || n, 'h', n, '{default}', 1,"
        " now() - interval '1 hour' from generate_series(1, 300) n",
    )
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(core.sweep.run) for _ in range(8)]:
            future.result()

    assert sql(settings, "select count(*) from workers") == [(0,)]

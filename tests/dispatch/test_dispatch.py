"""Dispatch enqueues only responses that may run now, and chooses them by tier, project, model and age."""

from collections import Counter

import psycopg
import pytest
import redis
from pydantic import SecretStr

from core.bootstrap import Core, open_core
from core.dispatch.celery_app import KEY_PREFIX, queue_name
from core.settings import Settings
from tests.harness.engine import (
    COMPLETED,
    batch,
    claim,
    create_caller,
    dispatched_ids,
    insert_backlog,
    register_worker,
    run_concurrently,
    sql,
    submit,
)


def dispatch_to_new_worker(core: Core, settings: Settings, slots: int) -> list[str]:
    """Register a worker with this number of slots and dispatch; return the IDs of the newly dispatched responses."""
    earlier_ids = set(dispatched_ids(settings))
    register_worker(core, f"w{slots}", slots)
    core.dispatch.dispatch()
    return [response_id for response_id in dispatched_ids(settings) if response_id not in earlier_ids]


def test_a_response_is_dispatched_at_its_creation_if_a_slot_is_free(core: Core, settings: Settings) -> None:
    register_worker(core, slots=2)
    client = create_caller(core)

    ids = [submit(core, client) for _ in range(3)]

    assert sorted(dispatched_ids(settings)) == sorted(ids[:2])


def test_no_response_is_dispatched_to_workers_that_were_not_seen_recently(core: Core, settings: Settings) -> None:
    register_worker(core, slots=10)
    sql(settings, "update workers set seen_at = now() - interval '1 h'")
    submit(core, create_caller(core))

    core.dispatch.dispatch()

    assert dispatched_ids(settings) == []


def test_dispatch_does_not_exceed_the_slots_of_the_workers(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    for _ in range(20):
        submit(core, client)

    assert len(dispatch_to_new_worker(core, settings, 7)) == 7
    core.dispatch.dispatch()
    assert len(dispatched_ids(settings)) == 7
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("default")) == 7


def test_a_freed_slot_goes_to_the_next_waiting_response(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    ids = [submit(core, client) for _ in range(3)]
    assert dispatch_to_new_worker(core, settings, 1) == ids[:1]
    attempt = claim(core, ids[0])
    core.attempts.end(attempt, COMPLETED, batch(attempt, []))

    core.dispatch.dispatch()

    assert dispatched_ids(settings) == ids[1:2]


def test_tiers_share_slots_by_their_weights_without_starvation(core: Core, settings: Settings) -> None:
    client = core.keys.caller(core.keys.create({"no-limit"}))
    tiers = ("flex", "default", "no-limit")
    tier_by_id = {submit(core, client, service_tier=tier): tier for _ in range(40) for tier in tiers}

    new_ids = dispatch_to_new_worker(core, settings, 26)

    counts = Counter(tier_by_id[response_id] for response_id in new_ids)
    assert counts == {"no-limit": 16, "default": 8, "flex": 2}


def test_a_new_response_of_a_higher_tier_is_dispatched_before_a_backlog_of_a_lower_tier(
    core: Core, settings: Settings
) -> None:
    client = core.keys.caller(core.keys.create({"no-limit"}))
    for _ in range(50):
        submit(core, client)
    no_limit_id = submit(core, client, service_tier="no-limit")

    assert dispatch_to_new_worker(core, settings, 1) == [no_limit_id]


def test_a_projects_backlog_does_not_delay_another_projects_single_response(core: Core, settings: Settings) -> None:
    busy_client, other_client = create_caller(core, "busy"), create_caller(core, "other")
    for _ in range(50):
        submit(core, busy_client)
    response_id = submit(core, other_client)

    assert response_id in dispatch_to_new_worker(core, settings, 2)


def test_the_oldest_response_of_a_project_is_dispatched_first(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    ids = [submit(core, client) for _ in range(10)]

    assert sorted(dispatch_to_new_worker(core, settings, 4)) == sorted(ids[:4])


def test_a_dispatch_of_many_responses_takes_the_oldest(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core))
    insert_backlog(settings, response_id, 120)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "update responses set available_at = available_at - i * interval '1 s'"
            " from (select id, row_number() over (order by id) as i from responses) numbered"
            " where responses.id = numbered.id"
        )
        register_worker(core, slots=90)
        core.dispatch.dispatch()
        dispatched_counts = connection.execute(
            "select count(*), count(*) filter (where age_rank <= 90) from ("
            " select dispatched_at, row_number() over (order by available_at) as age_rank from responses) ordered"
            " where dispatched_at is not null"
        ).fetchone()

    assert dispatched_counts == (90, 90)  # all dispatched responses, and those among the 90 oldest


def test_a_models_concurrency_is_not_exceeded_and_other_models_are_not_delayed(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    narrow_ids = [submit(core, client, model="narrow") for _ in range(10)]
    other_ids = [submit(core, client) for _ in range(3)]

    assert sorted(dispatch_to_new_worker(core, settings, 50)) == sorted(narrow_ids[:2] + other_ids)


def test_a_models_concurrency_is_exact_under_simultaneous_creates_and_dispatches(
    core: Core, settings: Settings
) -> None:
    register_worker(core, slots=50)
    client = create_caller(core)

    def create() -> None:
        for _ in range(10):
            submit(core, client, model="narrow")

    run_concurrently(*[create] * 6, *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2)

    assert len(dispatched_ids(settings)) == 2


def test_simultaneous_dispatches_do_not_exceed_the_slots(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    for _ in range(60):
        submit(core, client)
    register_worker(core, slots=20)

    run_concurrently(*[lambda: [core.dispatch.dispatch() for _ in range(5)]] * 6)

    assert len(dispatched_ids(settings)) == 20


def test_a_response_that_no_worker_claims_is_recalled_and_dispatched_again(core: Core, settings: Settings) -> None:
    register_worker(core, slots=1)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set dispatched_at = now() - interval '1 min'")
    ((first_dispatched_at,),) = sql(settings, "select dispatched_at from responses")

    core.sweep.run()

    assert dispatched_ids(settings) == [response_id]
    ((dispatched_at,),) = sql(settings, "select dispatched_at from responses")
    assert dispatched_at > first_dispatched_at


def test_a_response_is_not_dispatched_before_its_available_time(core: Core, settings: Settings) -> None:
    submit(core, create_caller(core))
    sql(settings, "update responses set available_at = now() + interval '1 min'")

    assert dispatch_to_new_worker(core, settings, 5) == []


def test_responses_are_recalled_while_the_broker_is_unavailable(settings: Settings, database_url: str) -> None:
    settings_without_broker = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:9/0")})
    with open_core(settings_without_broker) as core:
        register_worker(core)
        submit(core, create_caller(core))
        core.dispatch.dispatch()

    assert dispatched_ids(settings) == []


def count_sequential_scans(connection: psycopg.Connection) -> tuple | None:
    """Read how often Postgres has read the whole table `responses`."""
    return connection.execute("select seq_scan from pg_stat_user_tables where relname = 'responses'").fetchone()


@pytest.mark.parametrize("waiting_count", [0, 3000])
def test_dispatch_and_sweep_never_read_the_whole_table_of_responses(
    core: Core, settings: Settings, waiting_count: int
) -> None:
    client = create_caller(core)
    response_id = submit(core, client)
    columns = "project_id, status, background, model, lane, tier, run_s, queued_until, ends_by, request, document"
    sql(
        settings,
        f"insert into responses (id, {columns}, finished_at) select 'done' || i, project_id, 'completed', background,"
        " model, lane, tier, run_s, queued_until, ends_by, request, document, now()"
        " from responses, generate_series(1, 20000) i where id = %s",
        response_id,
    )
    sql(
        settings,
        f"insert into responses (id, {columns}) select 'wait' || i, {columns}"
        " from responses, generate_series(1, %s) i where id = %s",
        waiting_count,
        response_id,
    )
    sql(
        settings,
        "insert into circuits (model, open_until, probe, cause) values"
        " ('absent', now() + interval '1 h', null, 'no'), ('narrow', now() - interval '1 s', %s, 'no')",
        response_id,
    )
    sql(settings, "analyze responses")
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        scans_before = count_sequential_scans(connection)
    register_worker(core, slots=10)

    core.dispatch.dispatch()
    core.sweep.run()

    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        scans_after = count_sequential_scans(connection)
    assert len(dispatched_ids(settings)) == min(10, 1 + waiting_count)
    assert scans_before == scans_after

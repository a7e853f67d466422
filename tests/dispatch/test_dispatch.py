"""Dispatch enqueues only what may run now, by tier, project, model and age."""

import psycopg
import pytest
import redis

from core.bootstrap import Core
from core.dispatch.celery_app import KEY_PREFIX, queue_name
from core.settings import Settings
from tests.harness.engine import COMPLETED, at_once, batch, caller, claim, dispatched, sql, submit, worker


def let_in(core: Core, settings: Settings, slots: int) -> list[str]:
    """The responses that are dispatched when a worker with this number of slots appears."""
    before = set(dispatched(settings))
    worker(core, f"w{slots}", slots)
    core.dispatch.dispatch()
    return [one for one in dispatched(settings) if one not in before]


def test_a_response_is_rung_at_its_creation_when_there_is_room(core: Core, settings: Settings) -> None:
    worker(core, slots=2)
    who = caller(core)

    ids = [submit(core, who) for _ in range(3)]

    assert sorted(dispatched(settings)) == sorted(ids[:2])


def test_nothing_is_rung_for_workers_that_were_not_seen_lately(core: Core, settings: Settings) -> None:
    worker(core, slots=10)
    sql(settings, "update workers set seen_at = now() - interval '1 h'")
    submit(core, caller(core))

    core.dispatch.dispatch()

    assert dispatched(settings) == []


def test_no_more_is_rung_than_workers_have_slots(core: Core, settings: Settings) -> None:
    who = caller(core)
    for _ in range(20):
        submit(core, who)

    assert len(let_in(core, settings, 7)) == 7
    core.dispatch.dispatch()
    assert len(dispatched(settings)) == 7
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("default")) == 7


def test_a_freed_slot_goes_to_the_next_that_waits(core: Core, settings: Settings) -> None:
    who = caller(core)
    ids = [submit(core, who) for _ in range(3)]
    assert let_in(core, settings, 1) == ids[:1]
    attempt = claim(core, ids[0])
    core.attempts.end(attempt, COMPLETED, batch(attempt, []))

    core.dispatch.dispatch()

    assert dispatched(settings) == ids[1:2]


def test_tiers_share_slots_by_their_weights_and_none_starves(core: Core, settings: Settings) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}))
    tier = {submit(core, who, service_tier=name): name for _ in range(40) for name in ("flex", "default", "no-limit")}

    shares = [tier[one] for one in let_in(core, settings, 26)]

    assert (shares.count("no-limit"), shares.count("default"), shares.count("flex")) == (16, 8, 2)


def test_one_new_response_of_a_higher_tier_is_rung_before_a_backlog_of_a_lower_one(
    core: Core, settings: Settings
) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}))
    for _ in range(50):
        submit(core, who)
    high = submit(core, who, service_tier="no-limit")

    assert let_in(core, settings, 1) == [high]


def test_a_projects_backlog_does_not_delay_another_projects_single_response(core: Core, settings: Settings) -> None:
    crowd, single = caller(core, "crowd"), caller(core, "single")
    for _ in range(50):
        submit(core, crowd)
    lone = submit(core, single)

    assert lone in let_in(core, settings, 2)


def test_within_a_project_the_oldest_is_rung_first(core: Core, settings: Settings) -> None:
    who = caller(core)
    ids = [submit(core, who) for _ in range(10)]

    assert sorted(let_in(core, settings, 4)) == sorted(ids[:4])


def test_a_models_concurrency_is_kept_and_other_models_go_on(core: Core, settings: Settings) -> None:
    who = caller(core)
    narrow = [submit(core, who, model="narrow") for _ in range(10)]
    wide = [submit(core, who) for _ in range(3)]

    assert sorted(let_in(core, settings, 50)) == sorted(narrow[:2] + wide)


def test_a_models_concurrency_is_exact_under_simultaneous_creates_and_dispatches(
    core: Core, settings: Settings
) -> None:
    worker(core, slots=50)
    who = caller(core)

    def create() -> None:
        for _ in range(10):
            submit(core, who, model="narrow")

    at_once(*[create] * 6, *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2)

    assert len(dispatched(settings)) == 2


def test_slots_are_never_overbooked_by_simultaneous_dispatches(core: Core, settings: Settings) -> None:
    who = caller(core)
    for _ in range(60):
        submit(core, who)
    worker(core, slots=20)

    at_once(*[lambda: [core.dispatch.dispatch() for _ in range(5)]] * 6)

    assert len(dispatched(settings)) == 20


def test_a_response_that_nobody_claims_in_time_goes_back_to_waiting_and_is_rung_again(
    core: Core, settings: Settings
) -> None:
    worker(core, slots=1)
    response_id = submit(core, caller(core))
    sql(settings, "update responses set dispatched_at = now() - interval '1 min'")
    stale = sql(settings, "select dispatched_at from responses")

    core.sweep.run()

    assert dispatched(settings) == [response_id]
    assert sql(settings, "select dispatched_at from responses") > stale


def test_a_response_that_must_wait_a_while_is_not_rung_before(core: Core, settings: Settings) -> None:
    submit(core, caller(core))
    sql(settings, "update responses set available_at = now() + interval '1 min'")

    assert let_in(core, settings, 5) == []


def test_what_cannot_be_rung_because_the_broker_is_away_goes_back_to_waiting(
    settings: Settings, database_url: str
) -> None:
    from core.bootstrap import open_core

    unavailable = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:9/0")})
    with open_core(unavailable) as core:
        worker(core)
        submit(core, caller(core))
        core.dispatch.dispatch()

    assert dispatched(settings) == []


@pytest.mark.parametrize("waiting", [0, 3000])
def test_dispatch_uses_its_indexes(core: Core, settings: Settings, waiting: int) -> None:
    who = caller(core)
    response_id = submit(core, who)
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
        waiting,
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
        connection.execute("set enable_seqscan = on")
        before = connection.execute("select seq_scan from pg_stat_user_tables where relname = 'responses'").fetchone()
    worker(core, slots=10)

    core.dispatch.dispatch()
    core.sweep.run()

    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        after = connection.execute("select seq_scan from pg_stat_user_tables where relname = 'responses'").fetchone()
    assert len(dispatched(settings)) == min(10, 1 + waiting)
    assert before == after

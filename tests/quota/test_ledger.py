"""The usage ledger: one accurate row per ended response, and credits settled from it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

from core.bootstrap import Core
from core.quota import ledger_sql as store
from core.runs.ends import Spent
from core.settings import Settings
from tests.harness.engine import caller, claim, submit, worker
from tests.quota.usage import end

LIMITED = """
[projects.rated.limits."*"]
requests_per_minute = 100
tokens_per_minute = 10000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and a project with limits."""
    config.write_text(config.read_text() + LIMITED)
    return config


@pytest.fixture
def sql(settings: Settings):
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        yield lambda query, *parameters: connection.execute(query, parameters or None).fetchall()


@pytest.fixture
def valkey(settings: Settings):
    with redis.Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as client:
        yield client


def tokens(valkey: redis.Redis) -> float:
    """The tokens stored in the only bucket, without the refill since."""
    (bucket,) = valkey.keys("backburner:credits:*")
    return float(valkey.hget(bucket, "tokens"))


def used(sql) -> tuple[tuple, tuple]:
    """Usage according to the ledger and according to the attempts."""
    sums = "coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cached_tokens), 0)"
    sums += ", coalesce(sum(reasoning_tokens), 0)"
    return sql(f"select {sums} from usage_ledger")[0], sql(f"select {sums} from attempts")[0]


def test_every_end_leaves_one_row_whoever_ends_it(core: Core, sql) -> None:
    worker(core)
    who = caller(core)
    completed, client, operator, deleted, sweeper = [submit(core, who) for _ in range(5)]
    end(core, completed, Spent(10, 20, estimated=False, cached_tokens=4, reasoning_tokens=5))
    core.responses.cancel(who, client)
    core.operations.cancel(operator)
    core.responses.cancel(who, deleted)
    core.responses.delete(who, deleted)
    sql("update responses set queued_until = now() - interval '1 s' where id = %s returning 1", sweeper)
    core.sweep.run()

    rows = sql(
        "select response_id, status, attempts, input_tokens, output_tokens, cached_tokens, reasoning_tokens, tier,"
        " model, key_id, project_id, usage_estimated, day from usage_ledger order by ended_at"
    )
    common = ("default", "scripted", who.key_id, who.project_id, False, datetime.now(UTC).date())
    assert rows == [
        (completed, "completed", 1, 10, 20, 4, 5, *common),
        (client, "cancelled", 0, 0, 0, 0, 0, *common),
        (operator, "cancelled", 0, 0, 0, 0, 0, *common),
        (deleted, "cancelled", 0, 0, 0, 0, 0, *common),
        (sweeper, "failed", 0, 0, 0, 0, 0, *common),
    ]


def test_all_attempts_of_a_response_are_in_its_row(core: Core, sql) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    first = claim(core, response_id)
    sql("update responses set lease_until = now() - interval '1 s' where id = %s returning 1", response_id)
    core.sweep.run()
    core.attempts.note_usage(first, Spent(7, 3, estimated=True))
    sql("update responses set available_at = now(), dispatched_at = now() where id = %s returning 1", response_id)
    end(core, response_id, Spent(10, 20, estimated=False))

    assert sql("select attempts, input_tokens, output_tokens, usage_estimated from usage_ledger") == [(2, 17, 23, True)]
    assert used(sql)[0] == used(sql)[1]


def test_what_a_worker_learns_after_a_cancel_is_added_once_and_settled_anew(core: Core, sql, valkey) -> None:
    worker(core)
    who = caller(core, "rated")
    response_id = submit(core, who, max_output_tokens=100)
    attempt = claim(core, response_id)
    core.responses.cancel(who, response_id)
    assert core.ledger.settle() == 1
    assert tokens(valkey) == pytest.approx(10_000)
    for _ in range(2):
        core.attempts.note_usage(attempt, Spent(30, 40, estimated=True))

    assert sql("select input_tokens, output_tokens, usage_estimated, charged_tokens from usage_ledger") == [
        (30, 40, True, 0)
    ]
    assert used(sql)[0] == used(sql)[1]
    assert core.ledger.settle() == 1
    assert tokens(valkey) == pytest.approx(9_930, abs=1)
    assert core.ledger.settle() == 0


def test_usage_that_is_known_only_after_a_delete_is_counted(core: Core, sql) -> None:
    worker(core)
    who = caller(core)
    response_id = submit(core, who)
    attempt = claim(core, response_id)
    core.responses.cancel(who, response_id)
    core.responses.delete(who, response_id)
    core.attempts.note_usage(attempt, Spent(30, 40, estimated=True))

    assert sql("select input_tokens, output_tokens from usage_ledger") == [(30, 40)]


def test_usage_that_is_noted_while_the_response_ends_is_counted_once(core: Core, sql) -> None:
    worker(core)
    who = caller(core)
    ids = [submit(core, who) for _ in range(20)]
    attempts = [claim(core, response_id) for response_id in ids]
    with ThreadPoolExecutor(6) as threads:
        for attempt in attempts:
            threads.submit(core.attempts.note_usage, attempt, Spent(3, 4, estimated=True))
            threads.submit(core.responses.cancel, who, attempt.response_id)

    assert sql("select count(*), sum(input_tokens), sum(output_tokens) from usage_ledger") == [(20, 60, 80)]
    assert used(sql)[0] == used(sql)[1]


@pytest.mark.parametrize(
    ("spent", "left"), [(Spent(10, 20, estimated=False), 9970), (Spent(5000, 6000, estimated=False), -1000)]
)
def test_credits_follow_what_was_really_used(core: Core, valkey, sql, spent: Spent, left: int) -> None:
    worker(core)
    response_id = submit(core, caller(core, "rated"), max_output_tokens=4999)
    assert tokens(valkey) == pytest.approx(5000)
    end(core, response_id, spent)

    core.sweep.run()

    assert tokens(valkey) == pytest.approx(left, abs=150)
    assert sql("select reserved_requests, reserved_tokens, charged_tokens from usage_ledger") == [
        (1, 5000, spent.input_tokens + spent.output_tokens)
    ]


def test_a_response_is_settled_once_by_any_number_of_sweepers_and_after_a_crash_between(
    core: Core, valkey, sql
) -> None:
    worker(core)
    who = caller(core, "rated")
    for _ in range(20):
        end(core, submit(core, who, max_output_tokens=199), Spent(150, 150, estimated=False))
    before = tokens(valkey)
    with core.ledger._database.connection() as connection:
        found = store.unsettled(connection, 100)
    # A sweeper that died between the update in Redis and the one in Postgres.
    core.ledger._credits.settle([(one, core.catalog.limits.limits_for("rated", "scripted")) for one in found])
    once = tokens(valkey)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: core.ledger.settle(), range(4)))

    assert before == pytest.approx(6000, abs=200)
    assert once == pytest.approx(before - 2000, abs=200)
    assert tokens(valkey) == pytest.approx(once, abs=200)
    assert sql("select sum(charged_tokens), sum(input_tokens + output_tokens) from usage_ledger") == [(6000, 6000)]


def test_a_bucket_that_was_lost_is_made_anew_from_what_the_last_minute_used(core: Core, valkey, sql) -> None:
    worker(core)
    who = caller(core, "rated")
    for number in range(10):
        response_id = submit(core, who, max_output_tokens=299)
        if number % 2:
            end(core, response_id, Spent(50, 50, estimated=False))
    core.ledger.settle()
    sql(
        "update usage_ledger set created_at = created_at - interval '2 minutes' where response_id = %s returning 1",
        response_id,
    )
    valkey.flushall()

    submit(core, who, max_output_tokens=299)

    (bucket,) = valkey.keys("backburner:credits:*")
    assert tokens(valkey) == 10_000 - 5 * 300 - 4 * 100 - 300
    assert float(valkey.hget(bucket, "requests")) == 100 - 9 - 1


def test_usage_is_summed_up_by_whatever_is_asked(core: Core) -> None:
    worker(core)
    first, second = caller(core, "first"), caller(core, "second")
    for who, tier in ((first, "default"), (first, "flex"), (second, "flex")):
        end(core, submit(core, who, service_tier=tier), Spent(10, 20, estimated=False, cached_tokens=1))
    today = datetime.now(UTC).date()

    assert core.ledger.usage(["project", "tier"]) == [
        {
            "project": name,
            "tier": tier,
            "requests": 1,
            "attempts": 1,
            "input_tokens": 10,
            "cached_tokens": 1,
            "output_tokens": 20,
            "reasoning_tokens": 0,
            "estimated": 0,
        }
        for name, tier in (("first", "default"), ("first", "flex"), ("second", "flex"))
    ]
    (whole,) = core.ledger.usage([], project="first", since=today, until=today)
    assert (whole["requests"], whole["input_tokens"]) == (2, 20)
    assert [row["key"] for row in core.ledger.usage(["key"])] == sorted([first.key_id, second.key_id])
    assert core.ledger.usage(["day", "model"])[0]["day"] == today
    assert core.ledger.usage(["day"], until=today.replace(year=today.year - 1)) == []

"""The usage ledger: its row for each ended response, the settlement of credits from these rows, and usage reports."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

from core.bootstrap import Core
from core.quota import ledger_sql
from core.runs.ends import AttemptUsage
from core.settings import Settings
from tests.harness.engine import claim, create_caller, register_worker, submit
from tests.quota.usage import end_response

LIMITS_CONFIG = """
[projects.limited.limits."*"]
requests_per_minute = 100
tokens_per_minute = 10000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """A configuration file with the same models and with a limited project."""
    config.write_text(config.read_text() + LIMITS_CONFIG)
    return config


@pytest.fixture
def sql(settings: Settings):
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        yield lambda query, *parameters: connection.execute(query, parameters or None).fetchall()


@pytest.fixture
def valkey(settings: Settings):
    with redis.Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as client:
        yield client


def stored_tokens(valkey: redis.Redis) -> float:
    """The tokens in the only bucket in Valkey at its last update, without the refill since then."""
    (bucket,) = valkey.keys("backburner:credits:*")
    return float(valkey.hget(bucket, "tokens"))


def check_sums(sql) -> None:
    """Assert that the total usage in the ledger equals the total usage of the attempts."""
    sums = "coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cached_tokens), 0)"
    sums += ", coalesce(sum(reasoning_tokens), 0)"
    assert sql(f"select {sums} from usage_ledger") == sql(f"select {sums} from attempts")


def test_every_ended_response_has_one_row_whichever_process_ends_it(core: Core, sql) -> None:
    register_worker(core)
    client = create_caller(core)
    completed_id, client_cancelled_id, operator_cancelled_id, deleted_id, expired_id = [
        submit(core, client) for _ in range(5)
    ]
    end_response(core, completed_id, AttemptUsage(10, 20, estimated=False, cached_tokens=4, reasoning_tokens=5))
    core.responses.cancel(client, client_cancelled_id)
    core.operations.cancel(operator_cancelled_id)
    core.responses.cancel(client, deleted_id)
    core.responses.delete(client, deleted_id)
    sql("update responses set queued_until = now() - interval '1 s' where id = %s returning 1", expired_id)
    core.sweep.run()

    rows = sql(
        "select response_id, status, attempts, input_tokens, output_tokens, cached_tokens, reasoning_tokens, tier,"
        " model, key_id, project_id, usage_estimated, day from usage_ledger order by ended_at"
    )
    common_values = ("default", "scripted", client.key_id, client.project_id, False, datetime.now(UTC).date())
    assert rows == [
        (completed_id, "completed", 1, 10, 20, 4, 5, *common_values),
        (client_cancelled_id, "cancelled", 0, 0, 0, 0, 0, *common_values),
        (operator_cancelled_id, "cancelled", 0, 0, 0, 0, 0, *common_values),
        (deleted_id, "cancelled", 0, 0, 0, 0, 0, *common_values),
        (expired_id, "failed", 0, 0, 0, 0, 0, *common_values),
    ]


def test_the_row_of_a_response_includes_all_its_attempts(core: Core, sql) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    first_attempt = claim(core, response_id)
    sql("update responses set lease_until = now() - interval '1 s' where id = %s returning 1", response_id)
    core.sweep.run()
    core.attempts.record_usage(first_attempt, AttemptUsage(7, 3, estimated=True))
    sql("update responses set available_at = now(), dispatched_at = now() where id = %s returning 1", response_id)
    end_response(core, response_id, AttemptUsage(10, 20, estimated=False))

    assert sql("select attempts, input_tokens, output_tokens, usage_estimated from usage_ledger") == [(2, 17, 23, True)]
    check_sums(sql)


def test_usage_reported_after_a_cancel_is_added_once_and_settled_again(core: Core, sql, valkey) -> None:
    register_worker(core)
    client = create_caller(core, "limited")
    response_id = submit(core, client, max_output_tokens=100)
    attempt = claim(core, response_id)
    core.responses.cancel(client, response_id)
    assert core.ledger.settle() == 1
    assert stored_tokens(valkey) == pytest.approx(10_000)
    for _ in range(2):
        core.attempts.record_usage(attempt, AttemptUsage(30, 40, estimated=True))

    assert sql("select input_tokens, output_tokens, usage_estimated, charged_tokens from usage_ledger") == [
        (30, 40, True, 0)
    ]
    check_sums(sql)
    assert core.ledger.settle() == 1
    assert stored_tokens(valkey) == pytest.approx(9_930, abs=1)
    assert core.ledger.settle() == 0


def test_usage_reported_after_a_delete_is_counted(core: Core, sql) -> None:
    register_worker(core)
    client = create_caller(core)
    response_id = submit(core, client)
    attempt = claim(core, response_id)
    core.responses.cancel(client, response_id)
    core.responses.delete(client, response_id)
    core.attempts.record_usage(attempt, AttemptUsage(30, 40, estimated=True))

    assert sql("select input_tokens, output_tokens from usage_ledger") == [(30, 40)]


def test_usage_reported_while_the_response_ends_is_counted_once(core: Core, sql) -> None:
    register_worker(core)
    client = create_caller(core)
    response_ids = [submit(core, client) for _ in range(20)]
    attempts = [claim(core, response_id) for response_id in response_ids]
    with ThreadPoolExecutor(6) as threads:
        for attempt in attempts:
            threads.submit(core.attempts.record_usage, attempt, AttemptUsage(3, 4, estimated=True))
            threads.submit(core.responses.cancel, client, attempt.response_id)

    assert sql("select count(*), sum(input_tokens), sum(output_tokens) from usage_ledger") == [(20, 60, 80)]
    check_sums(sql)


@pytest.mark.parametrize(
    ("usage", "remaining_tokens"),
    [(AttemptUsage(10, 20, estimated=False), 9970), (AttemptUsage(5000, 6000, estimated=False), -1000)],
)
def test_credits_are_corrected_by_the_actual_usage(
    core: Core, valkey, sql, usage: AttemptUsage, remaining_tokens: int
) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core, "limited"), max_output_tokens=4999)
    assert stored_tokens(valkey) == pytest.approx(5000)
    end_response(core, response_id, usage)

    core.sweep.run()

    assert stored_tokens(valkey) == pytest.approx(remaining_tokens, abs=150)
    assert sql("select reserved_requests, reserved_tokens, charged_tokens from usage_ledger") == [
        (1, 5000, usage.input_tokens + usage.output_tokens)
    ]


def test_concurrent_sweepers_settle_a_response_once_even_after_a_crash(core: Core, valkey, sql) -> None:
    register_worker(core)
    client = create_caller(core, "limited")
    for _ in range(20):
        end_response(core, submit(core, client, max_output_tokens=199), AttemptUsage(150, 150, estimated=False))
    tokens_before = stored_tokens(valkey)
    with core.ledger._database.connection() as connection:
        settlements = ledger_sql.list_unsettled(connection, 100)
    # As if a sweeper died after its update of Redis and before its update of Postgres.
    limits = core.live_catalog.current.limits.limits_for("limited", "scripted")
    core.ledger._credits.settle([(settlement, limits) for settlement in settlements])
    tokens_after_crash = stored_tokens(valkey)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: core.ledger.settle(), range(4)))

    assert tokens_before == pytest.approx(6000, abs=200)
    assert tokens_after_crash == pytest.approx(tokens_before - 2000, abs=200)
    assert stored_tokens(valkey) == pytest.approx(tokens_after_crash, abs=200)
    assert sql("select sum(charged_tokens), sum(input_tokens + output_tokens) from usage_ledger") == [(6000, 6000)]


def test_a_lost_bucket_is_rebuilt_from_the_usage_of_the_last_minute(core: Core, valkey, sql) -> None:
    register_worker(core)
    client = create_caller(core, "limited")
    for number in range(10):
        response_id = submit(core, client, max_output_tokens=299)
        if number % 2:
            end_response(core, response_id, AttemptUsage(50, 50, estimated=False))
    core.ledger.settle()
    with psycopg.connect(core.settings.database_url.get_secret_value()) as connection:
        # The trigger rejects a change of the ledger. It is enabled again for the sweeps that follow.
        connection.execute("alter table usage_ledger disable trigger usage_ledger_guard")
        connection.execute(
            "update usage_ledger set created_at = created_at - interval '2 minutes' where response_id = %s",
            [response_id],
        )
        connection.execute("alter table usage_ledger enable trigger usage_ledger_guard")
    valkey.flushall()

    submit(core, client, max_output_tokens=299)

    (bucket,) = valkey.keys("backburner:credits:*")
    # Five responses have not ended and reserve 300 tokens each, and four ended with 100 tokens within the last minute.
    assert stored_tokens(valkey) == 10_000 - 5 * 300 - 4 * 100 - 300
    assert float(valkey.hget(bucket, "requests")) == 100 - 9 - 1


def test_usage_is_grouped_by_the_requested_columns(core: Core) -> None:
    register_worker(core)
    first_client, second_client = create_caller(core, "first"), create_caller(core, "second")
    for client, tier in ((first_client, "default"), (first_client, "flex"), (second_client, "flex")):
        end_response(
            core, submit(core, client, service_tier=tier), AttemptUsage(10, 20, estimated=False, cached_tokens=1)
        )
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
    (total,) = core.ledger.usage([], project="first", since=today, until=today)
    assert (total["requests"], total["input_tokens"]) == (2, 20)
    assert [row["key"] for row in core.ledger.usage(["key"])] == sorted([first_client.key_id, second_client.key_id])
    assert core.ledger.usage(["day", "model"])[0]["day"] == today
    assert core.ledger.usage(["day"], until=today.replace(year=today.year - 1)) == []

"""Credits while Redis hangs or rejects writes, after such a time, and the size and the refill of a bucket."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from core import errors
from core.allowance import Cost, Settlement
from core.bootstrap import Core
from core.breaker import PROBE_INTERVAL_S
from core.config.limits import Limits
from core.quota.token_bucket import Credits
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import create_caller, submit
from tests.harness.waiting import until

LIMITS_CONFIG = """
[projects.few-requests.limits."*"]
requests_per_minute = 5
[projects.few-tokens.limits."*"]
tokens_per_minute = 1000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """A configuration file with the same models and with limited projects."""
    config.write_text(config.read_text() + LIMITS_CONFIG)
    return config


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client


@contextmanager
def rejected_writes(valkey: redis.Redis) -> Iterator[None]:
    """Let Valkey reject writes, by a memory limit that is always exceeded."""
    valkey.config_set("maxmemory", 1)
    try:
        yield
    finally:
        valkey.config_set("maxmemory", 0)


def submit_over_limit(core: Core, client: Caller, **fields: object) -> errors.RateLimitExceeded:
    """Submit a request of the tier `default` that exceeds the limit; return the error."""
    with pytest.raises(errors.RateLimitExceeded) as error_info:
        submit(core, client, service_tier="default", **fields)
    return error_info.value


def test_a_hanging_redis_delays_one_create_briefly_and_fails_none(core: Core, valkey: redis.Redis) -> None:
    client = create_caller(core, "few-requests")
    submit(core, client)
    pid = valkey.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started_at = time.monotonic()
        submit(core, client)  # waits for one timeout of the credits and one of the dispatch
        assert time.monotonic() - started_at < 1.5
        started_at = time.monotonic()
        for _ in range(3):
            submit(core, client)
        assert time.monotonic() - started_at < 0.5
        error = submit_over_limit(core, client)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert error.retry_after_s is not None
    assert 50 < error.retry_after_s <= 60
    assert error.allowance is not None
    assert error.allowance.requests is not None
    assert error.allowance.requests.remaining == 0


def test_creates_are_admitted_by_postgres_while_redis_rejects_writes(core: Core, valkey: redis.Redis) -> None:
    client = create_caller(core, "few-requests")
    with rejected_writes(valkey):
        for _ in range(5):
            submit(core, client)
        submit_over_limit(core, client)


def test_tokens_are_limited_by_the_usage_of_the_last_minute_without_redis(
    core: Core, valkey: redis.Redis, settings: Settings
) -> None:
    client = create_caller(core, "few-tokens")
    with rejected_writes(valkey):
        submit(core, client, max_output_tokens=599)
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("update responses set created_at = created_at - interval '40 s'")
        submit(core, client, max_output_tokens=299)
        error = submit_over_limit(core, client, max_output_tokens=399)
        assert submit_over_limit(core, client, max_output_tokens=799).retry_after_s == pytest.approx(60, abs=3)
    assert error.kind == "tokens"
    assert error.retry_after_s == pytest.approx(20, abs=3)  # when the first response is one minute old


def test_a_bucket_is_reduced_by_the_creates_admitted_while_redis_was_unavailable(
    core: Core, valkey: redis.Redis
) -> None:
    client = create_caller(core, "few-requests")
    submit(core, client)
    with rejected_writes(valkey):
        for _ in range(3):
            submit(core, client)

    def can_reach_redis() -> bool:
        return core.creation._admission._credits._breaker.allows_call

    until(can_reach_redis, timeout_s=PROBE_INTERVAL_S + 1)
    submit(core, client)
    submit_over_limit(core, client)


def test_a_bucket_holds_at_most_the_credits_of_a_minute_and_refills_evenly(
    settings: Settings, valkey: redis.Redis
) -> None:
    limits, no_cost = Limits(requests_per_minute=600), Cost(0, 0)
    project_credits = Credits(settings.redis_url.get_secret_value())

    def remaining_requests() -> float:
        result = project_credits.take("p", "m", limits, no_cost, recent_cost=lambda: no_cost)
        assert result is not None
        assert result.allowance.requests is not None
        return result.allowance.requests.remaining

    assert remaining_requests() == 600
    project_credits.give_back("p", "m", limits, Cost(50, 0))
    assert remaining_requests() == 600
    result = project_credits.take("p", "m", limits, Cost(600, 0), recent_cost=lambda: no_cost)
    assert result is not None
    assert result.exhausted_limit is None
    start_s, start_us = valkey.time()
    until(lambda: remaining_requests() >= 5)
    now_s, now_us = valkey.time()
    duration_s = now_s - start_s + (now_us - start_us) / 1e6
    assert remaining_requests() == pytest.approx(duration_s * 10, abs=2)
    project_credits.close()


FORGED_BUCKETS: list[dict[str, str | bytes]] = [
    {"requests": "-inf", "tokens": "5", "at": "1"},
    {"requests": "nan", "tokens": "nan", "at": "1"},
    {"requests": "-1e300", "tokens": "5", "at": "1"},
    {"requests": "0", "tokens": "0", "at": "9e15"},
    {"requests": "0", "tokens": "0", "at": "nan"},
    {"requests": b"\xff", "tokens": "x", "at": "1"},
    {"requests": "1e300", "tokens": "inf", "at": "inf"},
]


@pytest.mark.parametrize("fields", [None, *FORGED_BUCKETS])
def test_a_bucket_that_cannot_be_read_is_rebuilt_from_postgres(
    valkey: redis.Redis, settings: Settings, fields: dict[str, str | bytes] | None
) -> None:
    key, limits = "backburner:credits:proj_1:m", Limits(requests_per_minute=5, tokens_per_minute=1000)
    if fields is None:
        valkey.set(key, "x")
    else:
        valkey.hset(key, mapping=fields)
    with contextlib.closing(Credits(settings.redis_url.get_secret_value())) as project_credits:
        project_credits.give_back("proj_1", "m", limits, Cost(1, 10))
        result = project_credits.take("proj_1", "m", limits, Cost(1, 10), recent_cost=lambda: Cost(2, 20))

    assert result is not None
    assert result.exhausted_limit is None
    assert result.allowance.requests is not None
    assert 2 <= result.allowance.requests.remaining < 2.1


def test_a_charge_of_the_wrong_type_is_replaced(valkey: redis.Redis, settings: Settings) -> None:
    valkey.hset("backburner:charged:resp_1", "a", "b")
    settlement = Settlement("resp_1", "proj_1", "p", "m", charged=10, used=5)
    with contextlib.closing(Credits(settings.redis_url.get_secret_value())) as project_credits:
        assert project_credits.settle([(settlement, Limits(tokens_per_minute=1000))])

    assert valkey.get("backburner:charged:resp_1") == b"5"

"""Credits while Redis hangs, refuses writes or loses data: creates are delayed briefly and never fail."""

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest
import redis

from core import errors
from core.allowance import Cost
from core.bootstrap import Core
from core.breaker import REST_S
from core.config.limits import Limits
from core.quota.token_bucket import Credits
from core.settings import Settings
from tests.harness.engine import caller, submit
from tests.harness.waiting import until

LIMITED = """
[projects.few.limits."*"]
requests_per_minute = 5
[projects.small.limits."*"]
tokens_per_minute = 1000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and projects with limits."""
    config.write_text(config.read_text() + LIMITED)
    return config


@pytest.fixture
def valkey(settings: Settings):
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield client


def refusal(core: Core, who, **fields: object) -> errors.RateLimited:
    with pytest.raises(errors.RateLimited) as caught:
        submit(core, who, service_tier="default", **fields)
    return caught.value


def test_a_redis_that_hangs_costs_half_a_second_now_and_then_and_no_create(core: Core, valkey: redis.Redis) -> None:
    who = caller(core, "few")
    submit(core, who)
    pid = valkey.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        submit(core, who)  # one timeout of the credits and one of the dispatch
        assert time.monotonic() - started < 1.5
        started = time.monotonic()
        for _ in range(3):
            submit(core, who)
        assert time.monotonic() - started < 0.5
        said = refusal(core, who)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert said.retry_after_s is not None
    assert 50 < said.retry_after_s <= 60
    assert said.allowance is not None
    assert said.allowance.requests is not None
    assert said.allowance.requests.left == 0


def test_a_redis_that_is_full_is_done_without(core: Core, valkey: redis.Redis) -> None:
    who = caller(core, "few")
    valkey.config_set("maxmemory", 1)
    try:
        for _ in range(5):
            submit(core, who)
        refusal(core, who)
    finally:
        valkey.config_set("maxmemory", 0)


def test_tokens_are_admitted_by_the_last_minute_too(core: Core, valkey: redis.Redis, settings: Settings) -> None:
    who = caller(core, "small")
    valkey.config_set("maxmemory", 1)
    try:
        submit(core, who, max_output_tokens=599)
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("update responses set created_at = created_at - interval '40 s'")
        submit(core, who, max_output_tokens=299)
        said = refusal(core, who, max_output_tokens=399)
        assert refusal(core, who, max_output_tokens=799).retry_after_s == pytest.approx(60, abs=3)
    finally:
        valkey.config_set("maxmemory", 0)
    assert said.kind == "tokens"
    assert said.retry_after_s == pytest.approx(20, abs=3)  # when the first of them is one minute old


def test_what_was_admitted_without_redis_is_missing_from_the_bucket_when_it_is_back(
    core: Core, valkey: redis.Redis
) -> None:
    who = caller(core, "few")
    submit(core, who)
    valkey.config_set("maxmemory", 1)
    for _ in range(3):
        submit(core, who)
    valkey.config_set("maxmemory", 0)

    def credited() -> bool:
        return core.creation._admission._credits._breaker.rested

    until(credited, within_s=REST_S + 1)
    submit(core, who)
    refusal(core, who)


def test_a_bucket_never_holds_more_than_a_minute_and_refills_evenly(settings: Settings, valkey: redis.Redis) -> None:
    limits, nothing = Limits(requests_per_minute=600), Cost(0, 0)
    credits_ = Credits(settings.redis_url.get_secret_value())

    def left() -> float:
        taken = credits_.take("p", "m", limits, nothing, lately=lambda: nothing)
        assert taken is not None
        assert taken.allowance.requests is not None
        return taken.allowance.requests.left

    assert left() == 600
    credits_.give_back("p", "m", limits, Cost(50, 0))
    assert left() == 600
    taken = credits_.take("p", "m", limits, Cost(600, 0), lately=lambda: nothing)
    assert taken is not None
    assert taken.short_of is None
    seconds, micros = valkey.time()
    until(lambda: left() >= 5)
    now_seconds, now_micros = valkey.time()
    passed_s = now_seconds - seconds + (now_micros - micros) / 1e6
    assert left() == pytest.approx(passed_s * 10, abs=2)
    credits_.close()

"""Limits across several API processes and without Redis are as exact as documented."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest
import redis

from core.bootstrap import open_core
from tests.harness.stack import Stack
from tests.harness.waiting import until

CREATORS = 64
LIMITED = """
[projects.crowd.limits."*"]
requests_per_minute = 100
[projects.slow.limits."*"]
requests_per_minute = 12
tokens_per_minute = 100_000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and two projects with limits."""
    config.write_text(config.read_text() + LIMITED)
    return config


@pytest.fixture
def clients(stack: Stack) -> Iterator[Callable[[str], list[openai.OpenAI]]]:
    """A function that returns clients of a project, one for each of two running API processes."""
    stack.up("valkey", "api", "api-2")
    with ExitStack() as opened:

        def of(project: str) -> list[openai.OpenAI]:
            with open_core(stack.settings) as core:
                key = core.keys.create(project=project)
            return [
                opened.enter_context(openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0))
                for port in (stack.port, stack.port_2)
            ]

        yield of


def create(client: openai.OpenAI) -> openai.RateLimitError | None:
    """Create a response within the limit; return the error if it is refused, else None."""
    try:
        response = client.responses.create(model="scripted", input="hi", background=True, service_tier="default")
    except openai.RateLimitError as refusal:
        return refusal
    assert response.service_tier == "default"
    return None


def test_64_creators_over_two_processes_get_a_burst_and_then_the_rate_and_no_more(
    stack: Stack, clients: Callable[[str], list[openai.OpenAI]]
) -> None:
    both = clients("crowd")
    with redis.Redis.from_url(stack.valkey.url) as valkey, ThreadPoolExecutor(CREATORS) as threads:

        def now_s() -> float:
            seconds, micros = valkey.time()
            return seconds + micros / 1e6

        def work(number: int, until_s: float) -> int:
            admitted = 0
            while time.monotonic() < until_s:
                admitted += create(both[number % 2]) is None
            return admitted

        begun = now_s()
        assert create(both[0]) is None
        first_in = now_s()
        until_s = time.monotonic() + 5
        working = [threads.submit(work, number, until_s) for number in range(CREATORS)]
        until(lambda: time.monotonic() >= until_s)
        last_begun = now_s()
        admitted = 1 + sum(one.result() for one in working)
        over = now_s()

    assert 100 + (last_begun - first_in) * 100 / 60 - 1 <= admitted <= 100 + (over - begun) * 100 / 60
    assert stack.sql("select count(*), sum(reserved_requests) from responses") == [(admitted, admitted)]


def test_without_redis_creates_are_admitted_by_what_the_last_minute_took_and_nobody_sees_an_error(
    stack: Stack, clients: Callable[[str], list[openai.OpenAI]]
) -> None:
    both = clients("slow")
    turns = itertools.cycle(both)
    assert [create(next(turns)) for _ in range(4)] == [None] * 4
    stack.kill("valkey")
    with ThreadPoolExecutor(16) as threads:
        refusals = [one for one in threads.map(lambda _: create(next(turns)), range(32)) if one is not None]

    assert len(refusals) == 24
    for refusal in refusals:
        assert refusal.code == "rate_limit_exceeded"
        assert 30 <= int(refusal.response.headers["Retry-After"]) <= 60
        assert refusal.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert stack.sql("select count(*), sum(reserved_requests) from responses") == [(12, 12)]
    assert "cannot reach the token buckets" in stack.log("api")

    # The new bucket is initialized from the last minute's creates, so losing Valkey grants no second burst.
    stack.start("valkey")
    answers = [create(next(turns)) for _ in range(10)]
    assert len([one for one in answers if one is None]) <= 2

"""Rate limits are exact across several API processes, and are enforced without Redis, too."""

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

CLIENT_COUNT = 64
PROJECT_LIMITS = """
[projects.crowd.limits."*"]
requests_per_minute = 100
[projects.slow.limits."*"]
requests_per_minute = 12
tokens_per_minute = 100_000
"""


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and two projects with limits."""
    config.write_text(config.read_text() + PROJECT_LIMITS)
    return config


@pytest.fixture
def clients(stack: Stack) -> Iterator[Callable[[str], list[openai.OpenAI]]]:
    """A function that returns clients of a project, one for each of two running API processes."""
    stack.up("valkey", "api", "api-2")
    with ExitStack() as exit_stack:

        def open_clients(project: str) -> list[openai.OpenAI]:
            with open_core(stack.settings) as core:
                key = core.keys.create(project=project)
            return [
                exit_stack.enter_context(
                    openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
                )
                for port in (stack.port, stack.port_2)
            ]

        yield open_clients


def try_create(client: openai.OpenAI) -> openai.RateLimitError | None:
    """Create a response; return the error if the API rejects the request because of a limit, else None."""
    try:
        response = client.responses.create(model="scripted", input="hi", background=True, service_tier="default")
    except openai.RateLimitError as error:
        return error
    assert response.service_tier == "default"
    return None


def test_64_clients_of_two_processes_get_exactly_a_burst_and_then_the_rate(
    stack: Stack, clients: Callable[[str], list[openai.OpenAI]]
) -> None:
    project_clients = clients("crowd")
    with redis.Redis.from_url(stack.valkey.url) as valkey, ThreadPoolExecutor(CLIENT_COUNT) as threads:

        def now_s() -> float:
            seconds, microseconds = valkey.time()
            return seconds + microseconds / 1e6

        def create_until(number: int, deadline: float) -> int:
            admitted_count = 0
            while time.monotonic() < deadline:
                if try_create(project_clients[number % 2]) is None:
                    admitted_count += 1
            return admitted_count

        before_first_s = now_s()
        assert try_create(project_clients[0]) is None
        after_first_s = now_s()
        deadline = time.monotonic() + 5
        futures = [threads.submit(create_until, number, deadline) for number in range(CLIENT_COUNT)]
        until(lambda: time.monotonic() >= deadline)
        before_last_s = now_s()
        admitted_count = 1 + sum(future.result() for future in futures)
        after_last_s = now_s()

    min_duration_s, max_duration_s = before_last_s - after_first_s, after_last_s - before_first_s
    assert 100 + min_duration_s * 100 / 60 - 1 <= admitted_count <= 100 + max_duration_s * 100 / 60
    assert stack.sql("select count(*), sum(reserved_requests) from responses") == [(admitted_count, admitted_count)]


def test_without_redis_creates_are_admitted_by_the_usage_of_the_last_minute(
    stack: Stack, clients: Callable[[str], list[openai.OpenAI]]
) -> None:
    alternating_clients = itertools.cycle(clients("slow"))
    assert [try_create(next(alternating_clients)) for _ in range(4)] == [None] * 4
    stack.kill("valkey")
    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda _: try_create(next(alternating_clients)), range(32)))
    rejections = [error for error in results if error is not None]

    assert len(rejections) == 24
    for error in rejections:
        assert error.code == "rate_limit_exceeded"
        assert 30 <= int(error.response.headers["Retry-After"]) <= 60
        assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert stack.sql("select count(*), sum(reserved_requests) from responses") == [(12, 12)]
    assert "cannot reach the token buckets" in stack.log("api")

    # The API fills the new bucket by the usage of the last minute, so the loss of Redis grants no second burst.
    stack.start("valkey")
    results = [try_create(next(alternating_clients)) for _ in range(10)]
    assert results.count(None) <= 2

"""A backlog of 5,000 responses waits in Postgres and slows down neither polls nor responses of higher tiers."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import openai
import psycopg
import pytest
import redis

from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

BACKLOG_SIZE = 5000
SLOTS = 4


class PollSpeed(NamedTuple):
    """The speed of polls.

    Args:
        ratio: the median time of a poll, divided by that of a request that queries no server.
    """

    median_ms: float
    ratio: float


def valkey_memory_bytes(stack: Stack) -> int:
    with redis.Redis.from_url(stack.valkey.url) as valkey:
        return int(valkey.info("memory")["used_memory"])


def measure_polls(client: openai.OpenAI, response_id: str, poll_count: int = 400) -> PollSpeed:
    """Measure polls of an ended response, each followed by a baseline request that queries no server."""
    poll_ms, baseline_ms = [], []
    for _ in range(poll_count):
        poll_start = time.perf_counter()
        client.responses.with_raw_response.retrieve(response_id)
        poll_end = time.perf_counter()
        client.models.with_raw_response.list()
        poll_ms.append((poll_end - poll_start) * 1000)
        baseline_ms.append((time.perf_counter() - poll_end) * 1000)
    median_ms = statistics.median(poll_ms)
    return PollSpeed(median_ms, median_ms / statistics.median(baseline_ms))


@pytest.mark.long
def test_a_backlog_of_5000_slows_down_neither_polls_nor_a_higher_tier(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.up(WORKER_SLOTS=str(SLOTS))
    with stack.client(max_retries=3) as client, ThreadPoolExecutor(8) as threads:
        completed_id = client.responses.create(model="scripted", input=models.script(tokens=50), background=True).id
        until(lambda: client.responses.retrieve(completed_id).status == "completed")
        # Fill the slots first, so that both measurements are taken under the same load.
        hanging_script = models.script(tag="hanging", first_delay_s=600)
        running_ids = [
            client.responses.create(model="scripted", input=hanging_script, background=True).id for _ in range(SLOTS)
        ]
        until(lambda: models.stats("hanging")["open"] == SLOTS)
        memory_before_bytes, polls_before = valkey_memory_bytes(stack), measure_polls(client, completed_id)

        waiting_script = models.script(tag="waiting", tokens=3)
        list(
            threads.map(
                lambda _: client.responses.create(model="scripted", input=waiting_script, background=True),
                range(BACKLOG_SIZE),
            )
        )

        memory_after_bytes, polls_after = valkey_memory_bytes(stack), measure_polls(client, completed_id)
        with psycopg.connect(stack.database_url) as connection:
            backlog_row = connection.execute("select count(*) from responses where status = 'queued'").fetchone()
        high_response = client.responses.create(
            model="scripted", input=models.script(tag="high", tokens=3), background=True, service_tier="no-limit"
        )
        client.responses.cancel(running_ids[0])  # frees one slot
        until(lambda: client.responses.retrieve(high_response.id).status == "completed", timeout_s=10)

        ((started_count,),) = stack.sql(
            "select count(*) from responses where started_at is not null and tier = 'default'"
        )
        for response_id in running_ids[1:]:
            client.responses.cancel(response_id)
        drain_start = time.monotonic()
        until(stack.all_ended, timeout_s=180)
        drain_s = time.monotonic() - drain_start

    with capsys.disabled():
        print(
            f"\nbacklog {BACKLOG_SIZE}; Valkey {memory_before_bytes / 1e6:.2f} -> {memory_after_bytes / 1e6:.2f} MB; "
            f"poll p50 {polls_before.median_ms:.2f} -> {polls_after.median_ms:.2f} ms, "
            f"{polls_before.ratio:.2f} -> {polls_after.ratio:.2f} x baseline; "
            f"{started_count} responses of the default tier had started when the response of the higher tier had ended; "
            f"drained in {drain_s:.1f} s ({BACKLOG_SIZE / drain_s:.0f}/s)"
        )
    assert backlog_row == (BACKLOG_SIZE,)
    assert memory_after_bytes - memory_before_bytes < 1_000_000
    assert polls_after.ratio < 1.2 * polls_before.ratio
    # The completed response, the responses that filled the slots, and at most one response of the backlog.
    assert started_count <= 1 + SLOTS + 1
    assert models.stats("high")["by_tag"]["high"][0]["started"] <= min(
        run["started"] for run in models.stats("waiting")["by_tag"]["waiting"]
    )

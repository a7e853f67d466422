"""A backlog of 5,000 responses waits in Postgres and slows down neither polls nor responses of higher tiers."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import psycopg
import pytest
import redis

from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

BACKLOG = 5000
SLOTS = 4


def memory_bytes(stack: Stack) -> int:
    """The memory that Valkey uses."""
    with redis.Redis.from_url(stack.valkey.url) as valkey:
        return int(valkey.info("memory")["used_memory"])


def poll_p50(client: openai.OpenAI, response_id: str, poll_count: int = 400) -> tuple[float, float]:
    """Measure polls of a finished response, each followed by a baseline request that queries no server.

    Returns:
        The median time of a poll in milliseconds, and its ratio to the median time of a baseline request.
    """
    poll_ms, baseline_ms = [], []
    for _ in range(poll_count):
        poll_start = time.perf_counter()
        client.responses.with_raw_response.retrieve(response_id)
        poll_end = time.perf_counter()
        client.models.with_raw_response.list()
        poll_ms.append((poll_end - poll_start) * 1000)
        baseline_ms.append((time.perf_counter() - poll_end) * 1000)
    return statistics.median(poll_ms), statistics.median(poll_ms) / statistics.median(baseline_ms)


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
        memory_before_bytes, poll_before = memory_bytes(stack), poll_p50(client, completed_id)

        waiting_script = models.script(tag="waiting", tokens=3)
        list(
            threads.map(
                lambda _: client.responses.create(model="scripted", input=waiting_script, background=True),
                range(BACKLOG),
            )
        )

        memory_after_bytes, poll_after = memory_bytes(stack), poll_p50(client, completed_id)
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
            f"\nbacklog {BACKLOG}; Valkey {memory_before_bytes / 1e6:.2f} -> {memory_after_bytes / 1e6:.2f} MB; "
            f"poll p50 {poll_before[0]:.2f} -> {poll_after[0]:.2f} ms, "
            f"{poll_before[1]:.2f} -> {poll_after[1]:.2f} x baseline; "
            f"{started_count} responses of the default tier had started when the higher tier's had ended; "
            f"drained in {drain_s:.1f} s ({BACKLOG / drain_s:.0f}/s)"
        )
    assert backlog_row == (BACKLOG,)
    assert memory_after_bytes - memory_before_bytes < 1_000_000
    assert poll_after[1] < 1.2 * poll_before[1]
    # The completed response, those that filled the slots, and at most one response of the backlog.
    assert started_count <= 1 + SLOTS + 1
    assert models.stats("high")["by_tag"]["high"][0]["started"] <= min(
        run["started"] for run in models.stats("waiting")["by_tag"]["waiting"]
    )

"""A backlog of 5,000 responses waits in Postgres and slows down nothing else."""

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


def memory(stack: Stack) -> int:
    with redis.Redis.from_url(stack.valkey.url) as valkey:
        return int(valkey.info("memory")["used_memory"])


def poll_p50(client: openai.OpenAI, response_id: str, polls: int = 400) -> tuple[float, float]:
    """Measure polls of a finished response alternately with requests that query nothing.

    Returns:
        The median time of a poll in milliseconds, and its ratio to the median time of the other requests.
    """
    polled, floor = [], []
    for _ in range(polls):
        started = time.perf_counter()
        client.responses.with_raw_response.retrieve(response_id)
        between = time.perf_counter()
        client.models.with_raw_response.list()
        polled.append((between - started) * 1000)
        floor.append((time.perf_counter() - between) * 1000)
    return statistics.median(polled), statistics.median(polled) / statistics.median(floor)


@pytest.mark.long
def test_a_backlog_of_5000_leaves_valkey_flat_polls_as_fast_and_a_higher_tier_first(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.up(WORKER_SLOTS=str(SLOTS))
    with stack.client(max_retries=3) as client, ThreadPoolExecutor(8) as threads:
        done = client.responses.create(model="scripted", input=models.script(tokens=50), background=True).id
        until(lambda: client.responses.retrieve(done).status == "completed")
        # Fill the slots first, so that both measurements are taken under the same load.
        hold = models.script(tag="hold", first_delay_s=600)
        held = [client.responses.create(model="scripted", input=hold, background=True).id for _ in range(SLOTS)]
        until(lambda: models.stats("hold")["open"] == SLOTS)
        memory_before, poll_before = memory(stack), poll_p50(client, done)

        waiting = models.script(tag="waiting", tokens=3)
        list(
            threads.map(
                lambda _: client.responses.create(model="scripted", input=waiting, background=True), range(BACKLOG)
            )
        )

        memory_after, poll_after = memory(stack), poll_p50(client, done)
        with psycopg.connect(stack.database_url) as connection:
            backlog = connection.execute("select count(*) from responses where status = 'queued'").fetchone()
        high = client.responses.create(
            model="scripted", input=models.script(tag="high", tokens=3), background=True, service_tier="no-limit"
        )
        client.responses.cancel(held[0])  # free one slot
        until(lambda: client.responses.retrieve(high.id).status == "completed", within_s=10)

        started = stack.sql("select count(*) from responses where started_at is not null and tier = 'default'")
        for response_id in held[1:]:
            client.responses.cancel(response_id)
        begun = time.monotonic()
        until(stack.all_ended, within_s=180)
        drained_s = time.monotonic() - begun

    with capsys.disabled():
        print(
            f"\nbacklog {backlog}; Valkey {memory_before / 1e6:.2f} -> {memory_after / 1e6:.2f} MB; "
            f"poll p50 {poll_before[0]:.2f} -> {poll_after[0]:.2f} ms, {poll_before[1]:.2f} -> {poll_after[1]:.2f} x floor; before the higher tier {started} had started; "
            f"drained in {drained_s:.1f} s ({BACKLOG / drained_s:.0f}/s)"
        )
    assert backlog == (BACKLOG,)
    assert memory_after - memory_before < 1_000_000
    assert poll_after[1] < 1.2 * poll_before[1]
    # The completed one, the held ones, and at most one that took the slot before the new response arrived.
    assert started[0][0] <= 1 + SLOTS + 1
    assert models.stats("high")["by_tag"]["high"][0]["started"] <= min(
        run["started"] for run in models.stats("waiting")["by_tag"]["waiting"]
    )

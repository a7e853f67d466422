"""Long tests of streams: many disconnects, and the speed of polls while hundreds of idle streams are open."""

import contextlib
import os
import random
import statistics
import time

import httpx2
import pytest

from tests.e2e.clients.reading import read_with_disconnects, stream_request, two_api_stack
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.stream_checker import open_event_stream

__all__ = ["two_api_stack"]  # an imported fixture

SEED_COUNT = 20
STREAM_COUNT = 300
POLL_COUNT = 400
ROUND_COUNT = 7


def open_stream(streams: contextlib.ExitStack, stack: Stack, path: str) -> bool:
    """Open one more stream; return False if no wait slot is free.

    The slot of a disconnected reader becomes free after the next ping.
    """
    try:
        streams.enter_context(open_event_stream(stack.port, stack.key, path)).read(1)
    except AssertionError as error:
        assert "server_busy" in str(error)
        return False
    return True


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_twenty_streams_are_complete_despite_fifty_disconnects_each(two_api_stack: Stack, models: ModelServer) -> None:
    first_seed = int(os.environ.get("SEED", random.randrange(2**32)))  # noqa: TID251
    for seed in range(first_seed, first_seed + SEED_COUNT):
        read_with_disconnects(two_api_stack, models, seed, disconnect_count=50, tokens=250)


@pytest.mark.long
def test_polls_keep_four_fifths_of_their_speed_with_three_hundred_idle_streams(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.up(WORKER_SLOTS="400", PING_S="5")  # a ping detects a disconnected reader
    with stack.client() as client:
        completed_id = client.responses.create(model="scripted", input="hello", background=True).id
        idle_id = client.responses.create(
            **stream_request(models, tag="idle", tokens=1, first_delay_s=600) | {"stream": False}
        ).id
        path = f"/v1/responses/{idle_id}?stream=true"
    poll_url = f"http://127.0.0.1:{stack.port}/v1/responses/{completed_id}"
    with httpx2.Client(headers={"Authorization": f"Bearer {stack.key}"}) as poll_client:

        def measure_polls_per_s() -> float:
            start = time.perf_counter()
            for _ in range(POLL_COUNT):
                assert poll_client.get(poll_url).status_code == 200
            return POLL_COUNT / (time.perf_counter() - start)

        measure_polls_per_s()  # warm up
        ratios, rates_without_streams, rates_with_streams = [], [], []
        for _ in range(ROUND_COUNT):
            rates_without_streams.append(measure_polls_per_s())
            with contextlib.ExitStack() as streams:
                for _ in range(STREAM_COUNT):
                    until(lambda: open_stream(streams, stack, path), timeout_s=30)
                rates_with_streams.append(measure_polls_per_s())
            ratios.append(rates_with_streams[-1] / rates_without_streams[-1])
    with capsys.disabled():
        print(
            f"\n{STREAM_COUNT} idle streams: {statistics.median(rates_with_streams):.0f} polls/s;"
            f" without streams: {statistics.median(rates_without_streams):.0f} polls/s;"
            f" ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
        )
    assert statistics.median(ratios) >= 0.8

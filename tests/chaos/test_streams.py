"""Long stream tests: disconnects with many seeds, and the cost of hundreds of idle streams for polls."""

import contextlib
import os
import random
import statistics
import time

import httpx2
import pytest

from tests.e2e.clients.reading import asked, interrupted, up
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.stream_checker import reading

__all__ = ["up"]

SEEDS = 20
STREAMS = 300
POLLS = 400
ROUNDS = 7


def opened(streams: contextlib.ExitStack, stack: Stack, path: str) -> bool:
    """Try to open one more stream; the slots of disconnected readers become free after a ping."""
    try:
        streams.enter_context(reading(stack.port, stack.key, path)).read(1)
    except AssertionError as error:
        assert "server_busy" in str(error)
        return False
    return True


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_twenty_streams_read_through_fifty_disconnects_each_are_whole(up: Stack, models: ModelServer) -> None:
    first = int(os.environ.get("SEED", random.randrange(2**32)))  # noqa: TID251
    for seed in range(first, first + SEEDS):
        interrupted(up, models, seed, disconnects=50, tokens=250)


@pytest.mark.long
def test_polls_keep_four_fifths_of_their_speed_beside_three_hundred_idle_streams(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.up(WORKER_SLOTS="400", PING_S="5")  # a ping detects a disconnected reader
    with stack.client() as client:
        polled = client.responses.create(model="scripted", input="hello", background=True).id
        idle = client.responses.create(**asked(models, tag="idle", tokens=1, first_delay_s=600) | {"stream": False}).id
        path = f"/v1/responses/{idle}?stream=true"
    url = f"http://127.0.0.1:{stack.port}/v1/responses/{polled}"
    with httpx2.Client(headers={"Authorization": f"Bearer {stack.key}"}) as polls:

        def rate() -> float:
            began = time.perf_counter()
            for _ in range(POLLS):
                assert polls.get(url).status_code == 200
            return POLLS / (time.perf_counter() - began)

        rate()
        ratios, quiet, beside = [], [], []
        for _ in range(ROUNDS):
            quiet.append(rate())
            with contextlib.ExitStack() as streams:
                for _ in range(STREAMS):
                    until(lambda: opened(streams, stack, path), within_s=30)
                beside.append(rate())
            ratios.append(beside[-1] / quiet[-1])
    with capsys.disabled():
        print(
            f"\n{STREAMS} idle streams: polls at {statistics.median(beside):.0f}/s, without {statistics.median(quiet):.0f}/s;"
            f" ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
        )
    assert statistics.median(ratios) >= 0.8

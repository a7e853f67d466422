"""A Redis that hangs while its kernel still accepts data costs little time, and one caller at a time."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import uvloop

from core.bootstrap import Core
from core.breaker import REST_S, Breaker
from core.notify.bus import Bus
from core.settings import Settings
from tests.harness import tcp_proxy
from tests.harness.engine import caller, claim, submit, worker
from tests.harness.waiting import until
from worker.liveness import registration


@pytest.fixture
def hanging(settings: Settings) -> Iterator[None]:
    """Freeze Valkey for the test; requested after connections exist."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        pid = client.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def timed(call) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_creates_and_cancels_stay_quick_while_redis_hangs(core: Core, request: pytest.FixtureRequest) -> None:
    worker(core, slots=1000)
    who = caller(core)
    submit(core, who)
    request.getfixturevalue("hanging")

    first = timed(lambda: core.responses.cancel(who, submit(core, who)))
    took_s: list[float] = []
    until_s = time.monotonic() + 3 * REST_S
    with ThreadPoolExecutor(8) as threads:

        def ask(_: int) -> None:
            while time.monotonic() < until_s:
                took_s.append(timed(lambda: core.responses.cancel(who, submit(core, who))))

        list(threads.map(ask, range(8)))

    assert first < 2.5, "one timeout of the message and one of the notification"
    slow = [took for took in took_s if took > 0.45]
    assert len(slow) <= 2 * 4, "one message and one notification per second, for all callers"
    assert max(took_s) < 1.6
    assert len(took_s) > 50


def test_one_at_a_time_tries_what_failed_until_it_works() -> None:
    patience = Breaker()

    def attempt(fails: bool, meanwhile=lambda: None) -> bool:
        try:
            with patience.trying(ValueError) as may_try:
                if may_try:
                    meanwhile()
                    if fails:
                        int("no number")
                return may_try
        except ValueError:
            return True

    assert attempt(fails=True)
    assert not patience.rested
    assert not attempt(fails=False)
    until(lambda: patience.rested, within_s=2 * REST_S)
    others: list[bool] = []
    assert attempt(fails=False, meanwhile=lambda: others.append(attempt(fails=False)))
    assert others == [False]
    assert attempt(fails=False)
    assert attempt(fails=False)


def test_a_worker_hears_stops_again_after_its_connection_died_without_a_word(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempt = claim(core, submit(core, who))
    url = settings.redis_url.get_secret_value()
    stopped = threading.Event()

    async def hear(proxied: str) -> None:
        consumer_probe = registration.hear_stops_for_ever(proxied, "w1", lambda _: stopped.set(), answer_s=0.5)
        listening = asyncio.create_task(consumer_probe)
        await asyncio.to_thread(until, lambda: subscribers(url) == 1)
        proxy.blackhole()
        await asyncio.to_thread(until, lambda: proxy.swallowed)
        proxy.pass_on()  # for new connections; the old one stays dead
        await asyncio.to_thread(until, lambda: proxy.accepted > 1)
        await asyncio.to_thread(until, lambda: subscribers(url) >= 1)
        for _ in range(100):
            await asyncio.to_thread(Bus.stop, core.bus, "w1", attempt.response_id)
            if await asyncio.to_thread(stopped.wait, 0.1):
                break
        listening.cancel()
        await asyncio.wait({listening})

    with tcp_proxy.running(url) as proxy:
        asyncio.run(hear(proxy.url))
    assert stopped.is_set()


def test_a_worker_outlives_a_redis_that_drops_every_connection_as_it_is_made() -> None:
    dropped = 0

    def drop(listening: socket.socket) -> None:
        nonlocal dropped
        with contextlib.suppress(OSError):  # the socket was closed
            while True:
                connection, _ = listening.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
                connection.close()
                dropped += 1

    async def hear(port: int) -> None:
        consumer_probe = asyncio.create_task(
            registration.hear_stops_for_ever(
                f"redis://127.0.0.1:{port}/0", "w1", lambda _: None, answer_s=0.5, again_s=0
            )
        )
        # One in ten connections breaks during a write, which raises a different error.
        await asyncio.to_thread(until, lambda: dropped > 300 or consumer_probe.done(), within_s=30)
        assert not consumer_probe.done()
        consumer_probe.cancel()
        await asyncio.wait({consumer_probe})

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as thread:
        thread.submit(drop, listening)
        try:
            uvloop.run(hear(listening.getsockname()[1]))
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def subscribers(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.pubsub_numsub("backburner:stop:w1")[0][1])

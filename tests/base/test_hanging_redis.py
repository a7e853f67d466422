"""A frozen Redis delays few calls, briefly, and workers survive connections to Redis that hang or are reset."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import uvloop

from core.bootstrap import Core
from core.breaker import PROBE_INTERVAL_S, Breaker
from core.notify.signatures import Signatures
from core.settings import Settings
from tests.harness import tcp_proxy
from tests.harness.engine import claim, create_caller, register_worker, submit
from tests.harness.waiting import until
from worker.liveness import registration


@pytest.fixture
def frozen_valkey(settings: Settings) -> Iterator[None]:
    """Freezes Valkey until the end of the test; the kernel still accepts data for Valkey.

    Tests request this fixture by name after they have opened connections.
    """
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        pid = client.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def measure_duration_s(call: Callable[[], object]) -> float:
    started_at = time.monotonic()
    call()
    return time.monotonic() - started_at


def test_creates_and_cancels_remain_fast_while_redis_is_frozen(core: Core, request: pytest.FixtureRequest) -> None:
    register_worker(core, slots=1000)
    client = create_caller(core)
    submit(core, client)
    request.getfixturevalue("frozen_valkey")

    first_s = measure_duration_s(lambda: core.responses.cancel(client, submit(core, client)))
    durations_s: list[float] = []
    deadline = time.monotonic() + 3 * PROBE_INTERVAL_S
    with ThreadPoolExecutor(8) as threads:

        def call_until_deadline(_: int) -> None:
            while time.monotonic() < deadline:
                durations_s.append(measure_duration_s(lambda: core.responses.cancel(client, submit(core, client))))

        list(threads.map(call_until_deadline, range(8)))

    assert first_s < 2.5  # one timeout of the task message and one of the notification
    slow_durations_s = [duration_s for duration_s in durations_s if duration_s > 0.45]
    # Over all callers, at most one task message and one notification per second wait for Redis.
    assert len(slow_durations_s) <= 2 * 4
    assert max(durations_s) < 1.6
    assert len(durations_s) > 50


def test_after_a_failure_one_caller_at_a_time_probes_until_a_call_succeeds() -> None:
    breaker = Breaker()

    def try_call(*, fails: bool, during_call: Callable[[], object] = lambda: None) -> bool:
        """Call through the breaker; return whether it allowed the call."""
        try:
            with breaker.guard_call(ValueError) as may_try:
                if may_try:
                    during_call()
                    if fails:
                        int("not a number")  # raises ValueError
                return may_try
        except ValueError:
            return True

    assert try_call(fails=True)
    assert not breaker.allows_call
    assert not try_call(fails=False)
    until(lambda: breaker.allows_call, timeout_s=2 * PROBE_INTERVAL_S)
    concurrent_calls: list[bool] = []
    assert try_call(fails=False, during_call=lambda: concurrent_calls.append(try_call(fails=False)))
    assert concurrent_calls == [False]
    assert try_call(fails=False)
    assert try_call(fails=False)


def test_a_worker_receives_stop_notices_again_after_its_connection_hung(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    attempt = claim(core, submit(core, client))
    url = settings.redis_url.get_secret_value()
    stop_received = threading.Event()

    async def listen(proxy_url: str) -> None:
        coroutine = registration.receive_stop_notices(
            proxy_url, "w1", core.bus.signatures, lambda _: stop_received.set(), answer_timeout_s=0.5
        )
        listener = asyncio.create_task(coroutine)
        await asyncio.to_thread(until, lambda: count_subscribers(url) == 1)
        proxy.blackhole()
        await asyncio.to_thread(until, lambda: proxy.discarded_reads)
        proxy.pass_on()  # affects new connections only; the old connection still discards all data
        await asyncio.to_thread(until, lambda: proxy.accepted_connections > 1)
        await asyncio.to_thread(until, lambda: count_subscribers(url) >= 1)
        for _ in range(100):
            await asyncio.to_thread(core.bus.publish_stop, "w1", attempt.response_id)
            if await asyncio.to_thread(stop_received.wait, 0.1):
                break
        listener.cancel()
        await asyncio.wait({listener})

    with tcp_proxy.running(url) as proxy:
        asyncio.run(listen(proxy.url))
    assert stop_received.is_set()


def test_a_worker_survives_a_redis_that_resets_every_new_connection() -> None:
    reset_count = 0

    def reset_connections(server: socket.socket) -> None:
        nonlocal reset_count
        with contextlib.suppress(OSError):  # the socket was closed
            while True:
                connection, _ = server.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
                connection.close()
                reset_count += 1

    async def listen(port: int) -> None:
        listener = asyncio.create_task(
            registration.receive_stop_notices(
                f"redis://127.0.0.1:{port}/0",
                "w1",
                Signatures(None),
                lambda _: None,
                answer_timeout_s=0.5,
                retry_interval_s=0,
            )
        )
        # About one in ten connections breaks during a write instead of a read and raises a different error.
        await asyncio.to_thread(until, lambda: reset_count > 300 or listener.done(), timeout_s=30)
        assert not listener.done()
        listener.cancel()
        await asyncio.wait({listener})

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(reset_connections, server)
        try:
            uvloop.run(listen(server.getsockname()[1]))
        finally:
            server.shutdown(socket.SHUT_RDWR)


def count_subscribers(url: str) -> int:
    """Count the connections that are subscribed to the stop notices of worker `w1`."""
    channel = "backburner:stop:w1"
    with redis.Redis.from_url(url) as client:
        return dict(client.pubsub_numsub(channel))[channel.encode()]

"""A contract test for each hook that Celery calls on a pool, with a real Celery application."""

import asyncio
import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import ImproperlyConfigured
from kombu.serialization import dumps

from core.dispatch import celery_app
from tests.harness.waiting import until
from worker.consumer.pool import AioPool
from worker.run.run import REVOKED, SHUTDOWN


class Calls:
    """The calls that Celery's `Request` receives from the pool for one task."""

    def __init__(self) -> None:
        self.accepted: list[tuple[int, float]] = []
        self.succeeded: list[Any] = []
        self.failed: list[Any] = []
        self.threads: set[str] = set()

    def options(self) -> dict[str, Any]:
        return {
            "accept_callback": lambda pid, at: self.accepted.append((pid, at)),
            "callback": self._note(self.succeeded),
            "error_callback": self._note(self.failed),
            "timeout_callback": None,
            "soft_timeout": None,
            "timeout": None,
            "correlation_id": "id",
        }

    def _note(self, to: list[Any]):
        def note(result: Any) -> None:
            self.threads.add(threading.current_thread().name)
            to.append(result)

        return note


@pytest.fixture
def app() -> Iterator[Celery]:
    app = celery_app.celery_app("redis://127.0.0.1:9/0")
    app.conf.worker_soft_shutdown_timeout = 0.3
    app.endings = endings = []
    app.begun = 0

    @app.task(name="add", shared=False)
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    @app.task(name="boom", shared=False)
    async def boom() -> None:
        raise ValueError("boom")

    @app.task(name="wait", shared=False)
    async def wait() -> str:
        app.begun += 1
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            endings.append(str(error))
            if str(error) == SHUTDOWN:
                return "handed back"
            raise
        return "waited"

    @app.task(name="sync", shared=False)
    def sync() -> str:
        return threading.current_thread().name

    app.finalize()
    yield app
    app.close()


@pytest.fixture
def pool(app: Celery) -> Iterator[AioPool]:
    pool = AioPool(10, app=app)
    pool.start()
    yield pool
    if pool.active:
        pool.terminate()


def apply(pool: AioPool, name: str, *args: Any) -> tuple[Calls, Any]:
    calls = Calls()
    content_type, encoding, body = dumps([args, {}, {}], "json")
    trace_args = (name, f"id-{name}", {}, body, content_type, encoding)
    handle = pool.apply_async(trace_args_target, args=trace_args, **calls.options())
    return calls, handle


def trace_args_target(*_: Any) -> tuple[int, str, float]:
    """Stands in for Celery's tracer, which runs only tasks that are not coroutines."""
    return 0, threading.current_thread().name, 0.0


def test_on_apply_accepts_at_once_and_reports_the_result_off_the_loop(pool: AioPool) -> None:
    calls, _ = apply(pool, "add", 2, 3)

    assert len(calls.accepted) == 1
    ((failed, result, runtime),) = until(lambda: calls.succeeded)
    assert (failed, result) == (0, 5)
    assert 0 <= runtime < 1
    assert all(name.startswith("pool-callbacks") for name in calls.threads)


def test_on_apply_reports_an_exception_with_its_traceback(pool: AioPool) -> None:
    calls, _ = apply(pool, "boom")

    (info,) = until(lambda: calls.failed)
    assert isinstance(info.exception.exc, ValueError)
    assert "boom" in info.traceback
    assert calls.succeeded == []


def test_on_apply_runs_a_task_that_is_no_coroutine_in_a_thread(pool: AioPool) -> None:
    calls, _ = apply(pool, "sync")

    (result,) = until(lambda: calls.succeeded)
    assert result[1].startswith("pool-callbacks")


def test_on_apply_runs_many_tasks_at_the_same_time(pool: AioPool) -> None:
    for _ in range(200):
        apply(pool, "wait")

    until(lambda: pool.info["running"] == 200)


def test_terminating_the_handle_cancels_the_task_as_revoked_and_reports_nothing(pool: AioPool, app: Celery) -> None:
    calls, handle = apply(pool, "wait")
    until(lambda: app.begun == 1)
    pool.terminate_job(1, signal.SIGTERM)  # `Request.terminate` calls this first

    handle.terminate(signal.SIGTERM)

    until(lambda: app.endings == [REVOKED])
    until(lambda: pool.info["running"] == 0)
    assert calls.succeeded == []
    assert calls.failed == []


def test_a_task_terminated_before_its_first_step_leaves_nothing_behind(pool: AioPool, app: Celery) -> None:
    hold = threading.Event()
    pool.loop.call_soon_threadsafe(hold.wait)
    calls, handle = apply(pool, "wait")
    handle.terminate()
    hold.set()

    until(lambda: pool.info["running"] == 0)
    assert app.begun == 0
    assert calls.succeeded == calls.failed == []


def test_the_pool_keeps_the_handle_that_a_request_holds_only_weakly(pool: AioPool) -> None:
    _, handle = apply(pool, "wait")
    held = weakref.ref(handle)
    del handle
    gc.collect()

    assert held() is not None


def test_on_stop_waits_for_tasks_that_end_in_time_then_cancels_the_rest(pool: AioPool, app: Celery) -> None:
    short, _ = apply(pool, "add", 1, 1)
    long, _ = apply(pool, "wait")

    started = time.monotonic()
    pool.stop()

    assert 0.3 <= time.monotonic() - started < 3
    assert [result[1] for result in short.succeeded] == [2]
    assert [result[1] for result in long.succeeded] == ["handed back"]


def test_on_stop_without_tasks_waits_for_nothing(pool: AioPool) -> None:
    started = time.monotonic()
    pool.stop()

    assert time.monotonic() - started < 0.3


def test_on_terminate_cancels_every_task_at_once_as_a_shutdown(pool: AioPool, app: Celery) -> None:
    calls = [apply(pool, "wait")[0] for _ in range(5)]
    until(lambda: app.begun == 5)

    started = time.monotonic()
    pool.terminate()

    assert time.monotonic() - started < 3
    assert app.endings == [SHUTDOWN] * 5
    assert all(call.succeeded[0][1] == "handed back" for call in calls)


def test_on_start_tells_the_process_and_on_stop_tells_it_again(app: Celery) -> None:
    heard: list[str] = []

    def started(**_: Any) -> None:
        heard.append("init")

    def stopped(**_: Any) -> None:
        heard.append("shutdown")

    signals.worker_process_init.connect(started)
    signals.worker_process_shutdown.connect(stopped)
    pool = AioPool(1, app=app)
    pool.start()
    pool.stop()
    signals.worker_process_init.disconnect(started)
    signals.worker_process_shutdown.disconnect(stopped)

    assert heard == ["init", "shutdown"]


def test_num_processes_is_the_limit_that_prefetching_counts_with(pool: AioPool) -> None:
    assert pool.num_processes == 10


def test_info_tells_limit_and_running_tasks_in_json(pool: AioPool) -> None:
    apply(pool, "wait")

    assert until(lambda: pool.info["running"] == 1)
    assert pool.info["max-concurrency"] == 10
    dumps(pool.info, "json")


@pytest.mark.parametrize("setting", ["task_time_limit", "task_soft_time_limit"])
def test_time_limits_that_it_would_not_keep_are_refused_at_start(app: Celery, setting: str) -> None:
    app.conf[setting] = 5
    pool = AioPool(1, app=app)

    with pytest.raises(ImproperlyConfigured, match="time limits"):
        pool.start()
    pool.loop.close()


def test_another_celery_than_the_tested_ones_is_refused_at_start(app: Celery) -> None:
    class Other(AioPool):
        tested_celery = ("4.",)

    pool = Other(1, app=app)

    with pytest.raises(ImproperlyConfigured, match="was tested with Celery"):
        pool.start()
    pool.loop.close()

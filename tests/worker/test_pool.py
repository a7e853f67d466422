"""Contract tests of the hooks that Celery calls on a pool, with a real Celery application."""

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


class RecordedCalls:
    """Records the calls that Celery's `Request` receives from the pool for one task."""

    def __init__(self) -> None:
        self.accept_calls: list[tuple[int, float]] = []
        self.results: list[Any] = []  # tuples: whether the task failed, its return value, its duration in seconds
        self.failures: list[Any] = []
        self.threads: set[str] = set()

    def options(self) -> dict[str, Any]:
        return {
            "accept_callback": lambda pid, accepted_at: self.accept_calls.append((pid, accepted_at)),
            "callback": self._append_to(self.results),
            "error_callback": self._append_to(self.failures),
            "timeout_callback": None,
            "soft_timeout": None,
            "timeout": None,
            "correlation_id": "id",
        }

    def return_values(self) -> list[Any]:
        return [value for _, value, _ in self.results]

    def _append_to(self, results: list[Any]):
        def append(result: Any) -> None:
            self.threads.add(threading.current_thread().name)
            results.append(result)

        return append


@pytest.fixture
def app() -> Iterator[Celery]:
    app = celery_app.celery_app("redis://127.0.0.1:9/0")
    app.conf.worker_soft_shutdown_timeout = 0.3
    app.cancel_messages = cancel_messages = []  # the messages with which tasks named `wait` were cancelled
    app.started_count = 0  # the number of started tasks named `wait`

    @app.task(name="add", shared=False)
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    @app.task(name="boom", shared=False)
    async def boom() -> None:
        raise ValueError("boom")

    @app.task(name="wait", shared=False)
    async def wait() -> str:
        app.started_count += 1
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            cancel_messages.append(str(error))
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


def apply_task(pool: AioPool, name: str, *args: Any) -> tuple[RecordedCalls, Any]:
    calls = RecordedCalls()
    content_type, encoding, body = dumps([args, {}, {}], "json")
    trace_args = (name, f"id-{name}", {}, body, content_type, encoding)
    handle = pool.apply_async(trace_args_target, args=trace_args, **calls.options())
    return calls, handle


def trace_args_target(*_: Any) -> tuple[int, str, float]:
    """Replaces Celery's tracer, which the pool calls only for tasks that are not coroutines."""
    return 0, threading.current_thread().name, 0.0


def test_on_apply_accepts_immediately_and_reports_the_result_in_another_thread(pool: AioPool) -> None:
    calls, _ = apply_task(pool, "add", 2, 3)

    assert len(calls.accept_calls) == 1
    ((is_failed, result, runtime),) = until(lambda: calls.results)
    assert (is_failed, result) == (0, 5)
    assert 0 <= runtime < 1
    assert all(name.startswith("pool-callbacks") for name in calls.threads)


def test_on_apply_reports_an_exception_with_its_traceback(pool: AioPool) -> None:
    calls, _ = apply_task(pool, "boom")

    (info,) = until(lambda: calls.failures)
    assert isinstance(info.exception.exc, ValueError)
    assert "boom" in info.traceback
    assert calls.results == []


def test_on_apply_runs_a_synchronous_task_in_a_thread(pool: AioPool) -> None:
    calls, _ = apply_task(pool, "sync")

    (thread_name,) = until(calls.return_values)
    assert thread_name.startswith("pool-callbacks")


def test_on_apply_runs_many_tasks_at_the_same_time(pool: AioPool) -> None:
    for _ in range(200):
        apply_task(pool, "wait")

    until(lambda: pool.info["running"] == 200)


def test_terminating_the_handle_cancels_the_task_as_revoked_and_reports_nothing(pool: AioPool, app: Celery) -> None:
    calls, handle = apply_task(pool, "wait")
    until(lambda: app.started_count == 1)
    pool.terminate_job(1, signal.SIGTERM)  # `Request.terminate` calls this first

    handle.terminate(signal.SIGTERM)

    until(lambda: app.cancel_messages == [REVOKED])
    until(lambda: pool.info["running"] == 0)
    assert calls.results == []
    assert calls.failures == []


def test_a_task_that_is_terminated_before_its_first_step_is_removed(pool: AioPool, app: Celery) -> None:
    release = threading.Event()
    pool.loop.call_soon_threadsafe(release.wait)
    calls, handle = apply_task(pool, "wait")
    handle.terminate()
    release.set()

    until(lambda: pool.info["running"] == 0)
    assert app.started_count == 0
    assert calls.results == calls.failures == []


def test_the_pool_keeps_a_strong_reference_to_the_handle_of_a_request(pool: AioPool) -> None:
    _, handle = apply_task(pool, "wait")
    reference = weakref.ref(handle)
    del handle
    gc.collect()

    assert reference() is not None


def test_on_stop_waits_for_running_tasks_until_the_timeout_and_then_cancels_them(pool: AioPool, app: Celery) -> None:
    short_calls, _ = apply_task(pool, "add", 1, 1)
    long_calls, _ = apply_task(pool, "wait")

    started_at = time.monotonic()
    pool.stop()

    assert 0.3 <= time.monotonic() - started_at < 3
    assert short_calls.return_values() == [2]
    assert long_calls.return_values() == ["handed back"]


def test_on_stop_without_tasks_does_not_wait(pool: AioPool) -> None:
    started_at = time.monotonic()
    pool.stop()

    assert time.monotonic() - started_at < 0.3


def test_on_terminate_immediately_cancels_all_tasks_with_the_message_of_a_shutdown(pool: AioPool, app: Celery) -> None:
    recorded_calls = [apply_task(pool, "wait")[0] for _ in range(5)]
    until(lambda: app.started_count == 5)

    started_at = time.monotonic()
    pool.terminate()

    assert time.monotonic() - started_at < 3
    assert app.cancel_messages == [SHUTDOWN] * 5
    assert all(calls.return_values() == ["handed back"] for calls in recorded_calls)


def test_on_start_and_on_stop_send_the_signals_of_a_worker_process(app: Celery) -> None:
    received: list[str] = []

    def record_start(**_: Any) -> None:
        received.append("init")

    def record_stop(**_: Any) -> None:
        received.append("shutdown")

    signals.worker_process_init.connect(record_start)
    signals.worker_process_shutdown.connect(record_stop)
    pool = AioPool(1, app=app)
    pool.start()
    pool.stop()
    signals.worker_process_init.disconnect(record_start)
    signals.worker_process_shutdown.disconnect(record_stop)

    assert received == ["init", "shutdown"]


def test_num_processes_is_the_number_of_slots(pool: AioPool) -> None:
    assert pool.num_processes == 10


def test_info_contains_the_limit_and_the_running_tasks_as_json(pool: AioPool) -> None:
    apply_task(pool, "wait")

    assert until(lambda: pool.info["running"] == 1)
    assert pool.info["max-concurrency"] == 10
    dumps(pool.info, "json")


@pytest.mark.parametrize("setting", ["task_time_limit", "task_soft_time_limit"])
def test_unsupported_time_limits_are_rejected_at_startup(app: Celery, setting: str) -> None:
    app.conf[setting] = 5
    pool = AioPool(1, app=app)

    with pytest.raises(ImproperlyConfigured, match="time limits"):
        pool.start()
    pool.loop.close()


def test_an_untested_version_of_celery_is_rejected_at_startup(app: Celery) -> None:
    class UntestedPool(AioPool):
        tested_versions = ("4.",)

    pool = UntestedPool(1, app=app)

    with pytest.raises(ImproperlyConfigured, match="was tested with Celery"):
        pool.start()
    pool.loop.close()

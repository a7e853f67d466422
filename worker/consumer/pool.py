"""A Celery pool on one asyncio event loop: each task is a coroutine, and one process can run a thousand tasks.

The pool overrides only public hooks of `BasePool`. Celery's documentation does not guarantee the arguments of these
hooks, so each hook has a contract test, and the pool checks the version of Celery at startup.
"""

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import celery
import uvloop
from billiard.einfo import ExceptionInfo
from celery import signals
from celery.concurrency.base import BasePool, apply_target
from celery.exceptions import ImproperlyConfigured
from kombu.serialization import loads, prepare_accept_content

from worker.run.run import REVOKED, SHUTDOWN

log = logging.getLogger(__name__)

# Maximum time for cancelled tasks to clean up before the process exits.
CLEANUP_TIMEOUT_S = 8.0
_POLL_INTERVAL_S = 0.02

Callback = Callable[..., Any]


class Handle:
    """The handle of a running task. The pool keeps a reference to it, because Celery's reference is weak."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.task: asyncio.Task[None] | None = None
        self.cancel_reason: str | None = None

    def terminate(self, signal: int | None = None) -> None:  # noqa: ARG002  # Celery's signature
        """Cancel the task because it was revoked."""
        self.cancel(REVOKED)

    def cancel(self, reason: str) -> None:
        """Cancel the task, even if it has not started. Thread-safe."""
        self._loop.call_soon_threadsafe(self._cancel_task, reason)

    def _cancel_task(self, reason: str) -> None:
        self.cancel_reason = reason
        if self.task is not None:
            self.task.cancel(reason)


class AioPool(BasePool):
    """Runs tasks that are coroutine functions on one event loop in a dedicated thread.

    A warm shutdown waits `app.conf.worker_soft_shutdown_timeout` seconds for running tasks, then cancels them with
    `SHUTDOWN`; a cold shutdown cancels them immediately. Celery's time limits are rejected at startup, because tasks
    enforce their own.
    """

    tested_versions = ("5.7.",)
    signal_safe = False
    body_can_be_buffer = True
    task_join_will_block = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="pool-loop", daemon=True)
        # Celery's callbacks block on the broker, so they must not run on the event loop; they run one at a time.
        self._callback_executor = ThreadPoolExecutor(1, thread_name_prefix="pool-callbacks")
        self._handles: dict[int, Handle] = {}

    def on_start(self) -> None:
        if not celery.__version__.startswith(self.tested_versions):
            raise ImproperlyConfigured(
                f"AioPool was tested with Celery {self.tested_versions}, not {celery.__version__}."
            )
        if self.app.conf.task_time_limit or self.app.conf.task_soft_time_limit:
            raise ImproperlyConfigured("AioPool does not support time limits: tasks enforce their own.")
        self._thread.start()
        signals.worker_process_init.send(sender=self)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def on_stop(self) -> None:
        self._wait_for_tasks(self.app.conf.worker_soft_shutdown_timeout)
        self._shut_down()

    def on_terminate(self) -> None:
        self._shut_down()

    @property
    def has_free_slot(self) -> bool:
        """Whether the pool has a free slot for another task."""
        return len(self._handles) < int(self.limit)

    def cancel_all(self) -> None:
        """Cancel all running tasks with the message `SHUTDOWN`."""
        for handle in list(self._handles.values()):
            handle.cancel(SHUTDOWN)

    def _shut_down(self) -> None:
        self.cancel_all()
        self._wait_for_tasks(CLEANUP_TIMEOUT_S)
        signals.worker_process_shutdown.send(sender=self, pid=os.getpid(), exitcode=0)
        self._callback_executor.shutdown()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _wait_for_tasks(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._handles and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_S)

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Do nothing: Celery's `Request` then calls `Handle.terminate`, which cancels the task."""

    @property
    def num_processes(self) -> int:
        return int(self.limit)

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()  # type: ignore[misc]  # missing from the stubs
        return info | {"running": len(self._handles)}

    def on_apply(  # type: ignore[override]  # explicit names, so that an argument with a new name raises an error
        self,
        target: Callback,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        callback: Callback,
        accept_callback: Callback,
        error_callback: Callback,
        **_: Any,
    ) -> Handle | None:
        """Start a task; Celery calls this method in its consumer thread."""
        task = self.app.tasks[args[0]]
        if not inspect.iscoroutinefunction(task.run):  # one of Celery's built-in tasks
            self._callback_executor.submit(apply_target, target, args, kwargs or {}, callback, accept_callback)
            return None
        accept_callback(os.getpid(), time.monotonic())
        handle = Handle(self.loop)
        self._handles[id(handle)] = handle
        self.loop.call_soon_threadsafe(self._start_task, handle, task, args, callback, error_callback)
        return handle

    def _start_task(self, handle: Handle, task: Any, args: Any, callback: Callback, error_callback: Callback) -> None:
        handle.task = self.loop.create_task(self._run_task(task, args, callback, error_callback))
        # A done callback also runs for a task that is cancelled before its first step, and it runs only after the
        # result has been submitted to Celery.
        handle.task.add_done_callback(lambda _: self._handles.pop(id(handle), None))
        if handle.cancel_reason is not None:
            handle.task.cancel(handle.cancel_reason)

    async def _run_task(self, task: Any, target_args: Any, callback: Callback, error_callback: Callback) -> None:
        """Run a task, send the same signals as Celery's tracer, and report the result."""
        _, task_id, _, body, content_type, content_encoding = target_args
        started_at = time.monotonic()
        result = None
        try:
            args, kwargs, _ = loads(
                body, content_type, content_encoding, accept=prepare_accept_content(self.app.conf.accept_content)
            )
            signals.task_prerun.send(sender=task, task_id=task_id, task=task, args=args, kwargs=kwargs)
            result = await task.run(*args, **kwargs)
            runtime_s = time.monotonic() - started_at
            # The first element of Celery's result tuple is 1 for a failed task.
            self._callback_executor.submit(_report_result, callback, (0, result, runtime_s))
        except asyncio.CancelledError:
            # There is no result to report: either Celery has already reported the revocation, or it is shutting down.
            return
        except BaseException:  # noqa: BLE001  # Celery reports any exception of a task
            self._callback_executor.submit(_report_result, error_callback, ExceptionInfo())
        finally:
            signals.task_postrun.send(sender=task, task_id=task_id, task=task, retval=result)


def _report_result(callback: Callback, result: Any) -> None:
    try:
        callback(result)
    except Exception:  # the executor would discard it; for example, the broker may be unavailable
        log.exception("cannot report the result of a task")

"""Celery's signals: they start, drain and stop the engine together with the pool."""

import asyncio
import os
import threading
from typing import Any

from celery import signals

from core.settings import Settings
from worker.consumer.pool import CLEANUP_S, AioPool
from worker.engine import Engine

_STOP_S = 5


def connect(engine: Engine, settings: Settings) -> None:
    """Start and stop the engine together with Celery's pool, and enforce a time limit on shutdown."""
    pools: list[AioPool] = []

    def start(sender: AioPool, **_: Any) -> None:
        pools.append(sender)
        asyncio.run_coroutine_threadsafe(engine.start(sender), sender.loop).result(_STOP_S)

    def drain(**_: Any) -> None:
        # This runs in a signal handler, so it must not block. The drain timers start here because Celery stops its
        # consumer before its pool, and if the broker hangs, that takes longer than any supervisor waits.
        for pool in pools:
            asyncio.run_coroutine_threadsafe(engine.leave(), pool.loop)
            pool.loop.call_soon_threadsafe(pool.loop.call_later, settings.drain_s, pool.cancel_all)
        last = threading.Timer(settings.drain_s + CLEANUP_S + _STOP_S, os._exit, (os.EX_TEMPFAIL,))
        last.daemon = True
        last.start()

    def stop(sender: AioPool, **_: Any) -> None:
        asyncio.run_coroutine_threadsafe(engine.stop(), sender.loop).result(_STOP_S)

    def revoked(request: Any, terminated: bool, **_: Any) -> None:
        if not terminated:
            engine.revoked(request.id)

    signals.worker_process_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)
    signals.worker_process_shutdown.connect(stop, weak=False)
    signals.task_revoked.connect(revoked, weak=False)
    # Logging is already configured; Celery does not configure it if this signal has a receiver.
    signals.setup_logging.connect(lambda **_: None, weak=False)

"""Connects the engine to Celery's signals, so that the engine starts, drains and stops with the pool."""

import asyncio
import logging
import os
import threading
from dataclasses import dataclass
from typing import Any

from celery import signals

from core.settings import Settings
from worker.consumer.pool import CLEANUP_TIMEOUT_S, AioPool
from worker.engine import Engine

log = logging.getLogger(__name__)

# Maximum time in seconds that the engine may take to start, and to stop.
_ENGINE_TIMEOUT_S = 5


@dataclass
class StopRecord:
    """The name of the first stop signal that the process received; None until then."""

    signal_name: str | None = None


def connect(engine: Engine, settings: Settings) -> StopRecord:
    """Start, drain and stop the engine together with Celery's pool, and limit the duration of a shutdown.

    Returns:
        The record of the stop signal, which is filled when a signal arrives.
    """
    pools: list[AioPool] = []
    stop_record = StopRecord()

    def start_engine(sender: AioPool, **_: Any) -> None:
        pools.append(sender)
        asyncio.run_coroutine_threadsafe(engine.start(sender), sender.loop).result(_ENGINE_TIMEOUT_S)

    def drain_engine(sig: str, **_: Any) -> None:
        # This function runs in the handler of a Unix signal, so it must not block. The timers start here and not when
        # Celery stops the pool, because Celery stops its consumer first: if the broker hangs, that could take longer
        # than systemd or Docker waits before killing the process.
        stop_record.signal_name = stop_record.signal_name or sig
        for pool in pools:
            pool.loop.call_soon_threadsafe(_log_stop, sig)
            pool.loop.call_soon_threadsafe(engine.drain)
            pool.loop.call_soon_threadsafe(pool.loop.call_later, settings.drain_s, pool.cancel_all)
        _exit_after(settings.drain_s + CLEANUP_TIMEOUT_S + _ENGINE_TIMEOUT_S)

    def stop_engine(sender: AioPool, **_: Any) -> None:
        asyncio.run_coroutine_threadsafe(engine.stop(), sender.loop).result(_ENGINE_TIMEOUT_S)

    def handle_revocation(request: Any, terminated: bool, **_: Any) -> None:
        if not terminated:
            engine.cancel_revoked(request.id)

    signals.worker_process_init.connect(start_engine, weak=False)
    signals.worker_shutting_down.connect(drain_engine, weak=False)
    signals.worker_process_shutdown.connect(stop_engine, weak=False)
    signals.task_revoked.connect(handle_revocation, weak=False)
    # Logging is already configured. A receiver of this signal prevents Celery from configuring it again.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    return stop_record


def _exit_after(delay_s: float) -> None:
    """End the process after a delay, even if Celery hangs."""
    timer = threading.Timer(delay_s, os._exit, (os.EX_TEMPFAIL,))
    timer.daemon = True
    timer.start()


def _log_stop(signal_name: str) -> None:
    log.info("worker stopping", extra={"cause": signal_name})

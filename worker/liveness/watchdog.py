"""Monitors the health of a worker: its event loop, its lease renewals, its registration and its consumer."""

import asyncio
import threading
import time
from collections.abc import Callable

from core.health import Health
from core.settings import Settings

_HEARTBEAT_INTERVAL_S = 0.5
# With a longer delay of the event loop, leases may expire before they are renewed.
_MAX_LOOP_DELAY_S = 5.0
# Even if Postgres hangs, every attempt to renew leases ends well within this time.
_MAX_RENEWAL_INTERVAL_S = 30.0


class Watchdog:
    """Monitors the health of a worker. The event loop records its heartbeats; any thread can read the health.

    Args:
        on_stuck: called in a separate thread when the event loop has been blocked for `max_renewal_interval_s`, or for
            the duration of a lease if that is longer. The worker has then lost the leases of all its runs.
        max_loop_delay_s: maximum delay of a healthy event loop, in seconds.
        max_renewal_interval_s: maximum time between two attempts to renew leases, in seconds; the duration of a lease
            if that is longer.
    """

    def __init__(
        self,
        worker_id: str,
        settings: Settings,
        *,
        on_stuck: Callable[[], None],
        max_loop_delay_s: float = _MAX_LOOP_DELAY_S,
        max_renewal_interval_s: float = _MAX_RENEWAL_INTERVAL_S,
    ) -> None:
        self._worker_id = worker_id
        self._settings = settings
        self._on_stuck = on_stuck
        self._max_loop_delay_s = max_loop_delay_s
        self._max_renewal_interval_s = max(settings.lease_s, max_renewal_interval_s)
        self._heartbeat_at = time.monotonic()
        self._registered_at: float | None = None
        self._stopped = threading.Event()
        self.is_leaving = False

    def record_registration(self) -> None:
        """Record that the registration in Postgres was updated."""
        self._registered_at = time.monotonic()

    async def record_heartbeats(self) -> None:
        """Record heartbeats until cancelled; a blocked event loop cannot record any."""
        threading.Thread(target=self._watch_event_loop, name="watchdog", daemon=True).start()
        try:
            while True:
                self._heartbeat_at = time.monotonic()
                await asyncio.sleep(_HEARTBEAT_INTERVAL_S)
        finally:
            self._stopped.set()

    def _watch_event_loop(self) -> None:
        # Count waits instead of seconds, because the clock also advances while the process is frozen.
        late_waits = 0
        while not self._stopped.wait(_HEARTBEAT_INTERVAL_S):
            heartbeat_at = self._heartbeat_at
            late_waits = late_waits + 1 if time.monotonic() - heartbeat_at > self._max_loop_delay_s else 0
            if late_waits * _HEARTBEAT_INTERVAL_S > self._max_renewal_interval_s:
                self._on_stuck()
                return

    def health(self, *, run_count: int, last_renewal_at: float, last_message_at: float, is_stalled: bool) -> Health:
        """Return the health of the worker.

        Args:
            run_count: number of responses that the worker runs.
            last_renewal_at: time of the last attempt to renew leases, successful or not (monotonic clock).
            last_message_at: time of the last message from Celery (monotonic clock).
            is_stalled: whether the consumer is stalled.
        """
        now = time.monotonic()
        loop_delay_s = max(0.0, now - self._heartbeat_at - _HEARTBEAT_INTERVAL_S)
        since_renewal_s = now - last_renewal_at
        problems = []
        if loop_delay_s > self._max_loop_delay_s:
            problems.append(f"event loop is {loop_delay_s:.0f} s late")
        if run_count and since_renewal_s > self._max_renewal_interval_s:
            problems.append(f"no lease renewal attempted for {since_renewal_s:.0f} s")
        if is_stalled:
            problems.append("consumer is stalled: no messages are received")
        is_registered = self._registered_at is not None and now - self._registered_at < self._settings.worker_seen_s
        details: dict[str, object] = {
            "worker": self._worker_id,
            "slots": self._settings.worker_slots,
            "running": run_count,
            "leaving": self.is_leaving,
            "postgres": "ok" if is_registered else "unreachable",
            "loop_late_s": round(loop_delay_s, 3),
            "heard_s_ago": round(now - last_message_at, 1),
        }
        return Health(problems, is_registered and not self.is_leaving and not problems, details)

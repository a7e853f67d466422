"""The health of a worker: the delay of its event loop, its lease renewals, its registration and its consumer."""

import asyncio
import threading
import time
from collections.abc import Callable

from core.health import Health
from core.settings import Settings

BEAT_S = 0.5
# An event loop that is this late cannot renew leases in time.
LATE_S = 5.0
# Every attempt to renew leases ends long before this, even if Postgres hangs.
RENEWING_S = 30.0


class Watchdog:
    """The health of a worker: written on the event loop, read in any thread.

    Args:
        stuck: called in a separate thread when the event loop has been blocked for the length of a lease, or for 30 s
            if that is longer: by then the worker has lost the leases of all its runs.
    """

    def __init__(
        self,
        worker_id: str,
        settings: Settings,
        *,
        stuck: Callable[[], None],
        late_s: float = LATE_S,
        renewing_s: float = RENEWING_S,
    ) -> None:
        self._worker_id = worker_id
        self._settings = settings
        self._stuck = stuck
        self._late_s = late_s
        self._renewing_s = max(settings.lease_s, renewing_s)
        self._beat_at = time.monotonic()
        self._seen_at: float | None = None
        self._watching = threading.Event()
        self.leaving = False

    def seen(self) -> bool:
        """Record that the registration in Postgres was updated; return whether this is the first time."""
        first = self._seen_at is None
        self._seen_at = time.monotonic()
        return first

    async def beat_for_ever(self) -> None:
        """Record a heartbeat every `BEAT_S` seconds until cancelled; a blocked event loop records none."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        try:
            while True:
                self._beat_at = time.monotonic()
                await asyncio.sleep(BEAT_S)
        finally:
            self._watching.set()

    def _watch(self) -> None:
        # Count waits instead of elapsed time, because time also passes while the whole process is frozen.
        waits = 0
        while not self._watching.wait(BEAT_S):
            beat_at = self._beat_at
            waits = waits + 1 if time.monotonic() - beat_at > self._late_s else 0
            if waits * BEAT_S > self._renewing_s:
                self._stuck()
                return

    def health(self, *, running: int, tried_at: float, heard_at: float, stalled: bool) -> Health:
        """Return the health of the worker.

        Args:
            running: number of responses that it runs.
            tried_at: time at which a lease renewal last finished, whether or not it succeeded (monotonic clock).
            heard_at: time at which a message last arrived through Celery (monotonic clock).
            stalled: whether the consumer is stalled.
        """
        now = time.monotonic()
        late_s = max(0.0, now - self._beat_at - BEAT_S)
        unrenewed_s = now - tried_at
        problems = []
        if late_s > self._late_s:
            problems.append(f"event loop is {late_s:.0f} s late")
        if running and unrenewed_s > self._renewing_s:
            problems.append(f"no lease renewal attempted for {unrenewed_s:.0f} s")
        if stalled:
            problems.append("consumer is stalled: no messages are received")
        seen = self._seen_at is not None and now - self._seen_at < self._settings.worker_seen_s
        details: dict[str, object] = {
            "worker": self._worker_id,
            "slots": self._settings.worker_slots,
            "running": running,
            "leaving": self.leaving,
            "postgres": "ok" if seen else "unreachable",
            "loop_late_s": round(late_s, 3),
            "heard_s_ago": round(now - heard_at, 1),
        }
        return Health(problems, seen and not self.leaving and not problems, details)

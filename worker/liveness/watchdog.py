"""A worker's signs of life: how late its loop is, how long ago it renewed leases and was seen, what it hears."""

import asyncio
import threading
import time
from collections.abc import Callable

from core.health import Health
from core.settings import Settings

BEAT_S = 0.5
# A loop that is so late cannot renew in time.
LATE_S = 5.0
# Every try to renew ends long before, also where Postgres hangs.
RENEWING_S = 30.0


class Watchdog:
    """What is known of a worker's health; written on the loop, read in any thread.

    Args:
        stuck: called in a thread of its own when the loop stood still for a whole lease, or 30 s if that is more:
            nothing it runs is its own any more.
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
        """Note that Postgres knows that this worker is there; whether that is news."""
        first = self._seen_at is None
        self._seen_at = time.monotonic()
        return first

    async def beat_for_ever(self) -> None:
        """Beat until cancelled; while the loop stands still, this does."""
        threading.Thread(target=self._watch, name="vitals", daemon=True).start()
        try:
            while True:
                self._beat_at = time.monotonic()
                await asyncio.sleep(BEAT_S)
        finally:
            self._watching.set()

    def _watch(self) -> None:
        # Waits and not seconds are counted, for those pass while the whole process is frozen.
        waits = 0
        while not self._watching.wait(BEAT_S):
            beat_at = self._beat_at
            waits = waits + 1 if time.monotonic() - beat_at > self._late_s else 0
            if waits * BEAT_S > self._renewing_s:
                self._stuck()
                return

    def health(self, *, running: int, tried_at: float, heard_at: float, stalled: bool) -> Health:
        """How the worker does.

        Args:
            running: how many responses it runs.
            tried_at: when a renewal last came to an end, good or bad, by the monotonic clock; so are the others.
            heard_at: when something last came through Celery.
        """
        now = time.monotonic()
        late_s = max(0.0, now - self._beat_at - BEAT_S)
        unrenewed_s = now - tried_at
        problems = []
        if late_s > self._late_s:
            problems.append(f"its loop is {late_s:.0f} s late")
        if running and unrenewed_s > self._renewing_s:
            problems.append(f"it tried to renew no lease for {unrenewed_s:.0f} s")
        if stalled:
            problems.append("it does not hear what is rung for it")
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

"""Publishes committed events to the subscribers of their responses, in a background thread."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from core.notify.bus import Bus
from core.runs.attempts import Batch


class Announcer:
    """Publishes committed batches in order; batches that arrive during a publish are published together next.

    If Redis hangs, it blocks one publish for a second, and the batches of the next second are dropped, so the backlog
    stays small. Readers find events that were not published in Postgres.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="announcer")
        self._lock = threading.Lock()
        self._waiting: list[Batch] = []
        self._under_way = False

    def announce(self, batches: Iterable[Batch]) -> None:
        """Publish these batches soon, without waiting for it."""
        with self._lock:
            self._waiting += batches
            if self._under_way or not self._waiting:
                return
            self._under_way = True
        self._thread.submit(self._publish)

    def _publish(self) -> None:
        while True:
            with self._lock:
                batches, self._waiting = self._waiting, []
                self._under_way = bool(batches)
            if not batches:
                return
            self._bus.committed(batches)

"""Publishes committed events to the subscribers of their responses, in a background thread."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from core.notify.bus import Bus
from core.runs.attempts import Batch


class Announcer:
    """Publishes committed batches in order; those that arrive during a publication are published together after it.

    The backlog stays small even if Redis hangs: a publication blocks for at most one second, and then the bus drops all
    batches of the next second. Readers find unpublished events in Postgres.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="announcer")
        self._lock = threading.Lock()
        self._queue: list[Batch] = []
        self._is_publishing = False

    def announce(self, batches: Iterable[Batch]) -> None:
        """Publish these batches in the background, without waiting."""
        with self._lock:
            self._queue += batches
            if self._is_publishing or not self._queue:
                return
            self._is_publishing = True
        self._executor.submit(self._publish_batches)

    def _publish_batches(self) -> None:
        while True:
            with self._lock:
                batches, self._queue = self._queue, []
                self._is_publishing = bool(batches)
            if not batches:
                return
            self._bus.publish_events(batches)

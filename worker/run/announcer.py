"""What was committed of logs, told to whoever follows them, by a thread that nothing waits for."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from core.notify.bus import Bus
from core.runs.attempts import Batch


class Announcer:
    """Publishes committed batches in order; what comes while one publishing is under way goes with the next.

    A Redis that hangs holds up one publishing for a second, and those of the next second are dropped: so
    little ever waits here. Readers find in Postgres what they were not told.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="announcer")
        self._lock = threading.Lock()
        self._waiting: list[Batch] = []
        self._under_way = False

    def announce(self, batches: Iterable[Batch]) -> None:
        """Publish these soon."""
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

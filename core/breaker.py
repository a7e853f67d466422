"""How often something that is away is tried again: by one caller a second, while the others do without it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REST_S = 1.0


class Breaker:
    """Lets everybody use a thing that works; after a failure, one at a time, and nobody for a second.

    So a thing that hangs costs a process its time-out once, and then one caller a second at the most.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works = True
        self._quiet_until = 0.0

    @property
    def rested(self) -> bool:
        """Whether a try is worth it now."""
        return self._works or time.monotonic() >= self._quiet_until

    @contextmanager
    def trying(self, *failures: type[Exception]) -> Iterator[bool]:
        """Whether the caller may try; what it raises of `failures` is noted, and goes on to be raised."""
        if not self._enter():
            yield False
            return
        try:
            yield True
        except failures:
            with self._lock:
                self._works = False
                self._quiet_until = time.monotonic() + REST_S
            raise
        with self._lock:
            self._works = True

    def _enter(self) -> bool:
        with self._lock:
            if self._works:
                return True
            now = time.monotonic()
            if now < self._quiet_until:
                return False
            self._quiet_until = now + REST_S
            return True

"""Circuit breaker for a dependency such as Redis: after a failure, one caller per second probes it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REST_S = 1.0


class Breaker:
    """Half-open circuit breaker: after a failure, one caller per second probes; all other callers fail fast.

    A dependency that hangs therefore costs a process at most one timeout per second, after callers that are already
    in flight have timed out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works = True
        self._quiet_until = 0.0

    @property
    def rested(self) -> bool:
        """Whether a call is allowed now: the breaker is closed, or the next probe is due."""
        return self._works or time.monotonic() >= self._quiet_until

    @contextmanager
    def trying(self, *failures: type[Exception]) -> Iterator[bool]:
        """Yield whether the caller may use the dependency.

        An exception of the types `failures` opens the breaker and is re-raised.
        """
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

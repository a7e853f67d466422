"""Circuit breaker for a dependency such as Redis: after a failure, one caller per second probes it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PROBE_INTERVAL_S = 1.0


class Breaker:
    """A circuit breaker: after a failure, one caller per second probes the dependency; all other callers fail fast.

    A dependency that hangs therefore costs a process at most one timeout per second, once the calls in flight at the
    first failure have timed out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = True
        self._next_probe_at = 0.0

    @property
    def allows_call(self) -> bool:
        """Whether a call is allowed now: the breaker is closed, or the next probe is due."""
        return self._is_closed or time.monotonic() >= self._next_probe_at

    @contextmanager
    def guard_call(self, *failure_types: type[Exception]) -> Iterator[bool]:
        """Yield whether the caller may use the dependency; close the breaker if the block succeeds.

        An exception of one of the `failure_types` opens the breaker and is re-raised.
        """
        if not self._admit_call():
            yield False
            return
        try:
            yield True
        except failure_types:
            with self._lock:
                self._is_closed = False
                self._next_probe_at = time.monotonic() + PROBE_INTERVAL_S
            raise
        with self._lock:
            self._is_closed = True

    def _admit_call(self) -> bool:
        """Return whether the caller may call the dependency now; if the call is a probe, schedule the next probe."""
        with self._lock:
            if self._is_closed:
                return True
            now = time.monotonic()
            if now < self._next_probe_at:
                return False
            self._next_probe_at = now + PROBE_INTERVAL_S
            return True

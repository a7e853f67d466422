"""Limits the total size of the large create requests that an API process stores at the same time."""

import threading
import time
from contextlib import ExitStack

from core import errors

# Smaller requests are not counted.
LARGE_BYTES = 1024 * 1024
# Maximum total size. A request occupies several times its size in memory until it is stored, and Postgres needs about a
# second for 50 MB: without a limit, a few of the largest requests would delay all others.
TOTAL_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30.0


class LargeRequests:
    """The capacity for large create requests of a process; a request waits for it without a connection to Postgres.

    Args:
        timeout_s: maximum wait in seconds.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        # Locked by the request that waits for capacity, so that no other request overtakes it.
        self._queue_lock = threading.Lock()
        self._condition = threading.Condition()
        self._used_bytes = 0

    def reserve_bytes(self, size_bytes: int) -> ExitStack:
        """Reserve capacity for a request whose body has this size, after a wait if necessary.

        Returns:
            The reservation, which is released at the end of a `with` block or when it is closed.

        Raises:
            errors.ServerBusy: there was no capacity in time.
        """
        reservation = ExitStack()
        if size_bytes >= LARGE_BYTES:
            size_bytes = min(size_bytes, TOTAL_BYTES)
            if not self._wait_for_capacity(size_bytes):
                raise errors.ServerBusy("Too many large requests are in progress; try again.")
            reservation.callback(self._release_bytes, size_bytes)
        return reservation

    def _wait_for_capacity(self, size_bytes: int) -> bool:
        deadline = time.monotonic() + self._timeout_s
        if not self._queue_lock.acquire(timeout=self._timeout_s):
            return False
        try:
            with self._condition:
                has_capacity = self._condition.wait_for(
                    lambda: self._used_bytes + size_bytes <= TOTAL_BYTES, deadline - time.monotonic()
                )
                self._used_bytes += size_bytes if has_capacity else 0
                return has_capacity
        finally:
            self._queue_lock.release()

    def _release_bytes(self, size_bytes: int) -> None:
        with self._condition:
            self._used_bytes -= size_bytes
            self._condition.notify_all()

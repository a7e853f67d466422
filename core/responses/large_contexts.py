"""Limits how many requests to an API process read large contexts at the same time, to continue or to list them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from core import errors

# While it is read, a large context occupies several times its size in memory, and the request may be short: without a
# limit, a few requests would fill the memory of the process.
MAX_READERS = 2
# Maximum number of requests that wait for a slot: each occupies a thread.
MAX_WAITERS = 32
TIMEOUT_S = 30.0


class LargeContexts:
    """The slots of requests that read large contexts; a request waits without a connection to Postgres.

    Args:
        timeout_s: maximum wait in seconds.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(MAX_READERS)
        self._waiters = threading.BoundedSemaphore(MAX_WAITERS)

    @contextmanager
    def acquire_slot(self) -> Iterator[None]:
        """Hold a slot during the block, after a wait if necessary.

        Raises:
            errors.ServerBusy: too many requests are waiting, or there was no slot in time.
        """
        if not self._wait_for_slot():
            raise errors.ServerBusy("Too many requests read large contexts; try again.")
        try:
            yield
        finally:
            self._slots.release()

    def _wait_for_slot(self) -> bool:
        if not self._waiters.acquire(blocking=False):
            return False
        try:
            return self._slots.acquire(timeout=self._timeout_s)
        finally:
            self._waiters.release()

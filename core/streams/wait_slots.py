"""Wait slots for requests that wait for responses, and what happens to a response when its client is gone."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core import errors
from core.database import Database
from core.responses import responses_sql as store
from core.runs.ends import Endings, cancelled
from core.streams import followers_sql
from core.streams.broadcaster import Broadcaster, Subscription

log = logging.getLogger(__name__)


class WaitSlots:
    """Wait slots of a process, and cleanup of responses whose clients are done waiting.

    Args:
        places: number of wait slots; the remaining threads serve requests that do not wait.
        uploads: how many of the remaining threads may read a request body while all wait slots are in use.
    """

    def __init__(
        self, database: Database, endings: Endings, broadcaster: Broadcaster, *, places: int, uploads: int
    ) -> None:
        self._database = database
        self._endings = endings
        self._broadcaster = broadcaster
        self._places = threading.BoundedSemaphore(places)
        self._uploads = threading.BoundedSemaphore(uploads)

    def place(self) -> "WaitSlot":
        """Take a wait slot; the caller must call its `leave`.

        Raises:
            errors.Busy: all slots are in use.
            errors.Stopping: the process is draining.
        """
        if self._broadcaster.drains:
            raise errors.Stopping("The server is shutting down; try again.")
        if not self._places.acquire(blocking=False):
            raise errors.Busy("Too many requests are waiting for responses; poll instead, or try again.")
        return WaitSlot(self, self._broadcaster, self._places.release)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Hold a slot while a request body is read, because a slow client occupies the thread for arbitrarily long.

        Raises:
            errors.Busy: all slots are in use.
        """
        semaphore = next(
            (semaphore for semaphore in (self._places, self._uploads) if semaphore.acquire(blocking=False)), None
        )
        if semaphore is None:
            raise errors.Busy("Too many requests are in progress; try again.")
        try:
            yield
        finally:
            semaphore.release()

    def document(self, response_id: str) -> str | None:
        """The document of an ended response; None if it has not ended or does not exist."""

        def read() -> str | None:
            with self._database.connection() as connection:
                return store.document(connection, response_id)

        return self._database.again(read)

    def cancel_orphan(self, response_id: str) -> None:
        """Cancel a foreground response whose client has disconnected."""
        try:
            self._endings.end(response_id, cancelled("its client disconnected"), lambda row: not row.background)
        except errors.StoreUnavailable as error:
            # Its `followed_until` is no longer renewed, so the sweeper cancels it.
            log.warning("cannot cancel after a disconnect", extra={"response": response_id, "cause": str(error)})

    def release(self) -> None:
        """Let the foreground responses that clients of this process wait for run to their end without a client.

        To be called when the process must exit before they have ended; otherwise the sweeper would cancel them.
        """
        response_ids = self._broadcaster.renewed_ids()
        if not response_ids:
            return
        try:
            with self._database.connection() as connection:
                followers_sql.release(connection, response_ids)
        except errors.StoreUnavailable as error:
            log.warning("cannot release responses", extra={"responses": len(response_ids), "cause": str(error)})
        else:
            log.warning("stopped while clients waited", extra={"responses": len(response_ids)})

    def forget(self, response_id: str) -> None:
        """Delete an unstored response after its delivery."""
        try:
            with self._database.connection() as connection:
                store.delete(connection, response_id)
        except errors.StoreUnavailable as error:
            log.warning("cannot delete an unstored response", extra={"response": response_id, "cause": str(error)})


class WaitSlot:
    """The wait slot of one request, for one response."""

    def __init__(self, waiting: WaitSlots, broadcaster: Broadcaster, release: Callable[[], None]) -> None:
        self._waiting = waiting
        self._broadcaster = broadcaster
        self._release: Callable[[], None] | None = release
        self._subscription: Subscription | None = None

    def leave(self) -> None:
        """Release the slot and end the subscription; may be called more than once."""
        release, self._release = self._release, None
        if self._subscription is not None:
            self._broadcaster.leave(self._subscription)
        if release is not None:
            release()

    def wait(self, response_id: str, for_s: float, *, follow: bool = False) -> bool:
        """Wait up to `for_s` seconds for the end of the response; returns whether it has ended.

        The first call subscribes to the response, until `leave`. An unavailable Postgres does not end the wait: the
        broadcaster polls it every second for all subscriptions.

        Args:
            follow: whether to keep a foreground response alive meanwhile.
        """
        if self._subscription is None:
            self._subscription = self._broadcaster.follow(response_id, keeps=follow)
            try:
                # The response may have ended before the subscription began.
                if self._waiting.document(response_id) is not None:
                    return True
            except errors.StoreUnavailable as error:
                log.warning("cannot check for the end", extra={"response": response_id, "cause": str(error)})
        return self._subscription.wait_for_end(for_s)

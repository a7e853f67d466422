"""Wait slots for requests that wait for responses, and the cleanup of responses whose clients have disconnected."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core import errors
from core.context import large_fields
from core.database import Database
from core.responses import responses_sql
from core.runs.ends import Endings, cancelled_outcome
from core.streams import followers_sql
from core.streams.broadcaster import Broadcaster
from core.streams.subscription import Subscription

log = logging.getLogger(__name__)


class WaitSlots:
    """The wait slots of a process, and the cleanup of responses after their clients have stopped waiting.

    Args:
        wait_count: number of wait slots; the remaining threads serve requests that do not wait.
        upload_count: number of the remaining threads that may read a request body, or wait to store it, while all wait
            slots are in use.
    """

    def __init__(
        self, database: Database, endings: Endings, broadcaster: Broadcaster, *, wait_count: int, upload_count: int
    ) -> None:
        self._database = database
        self._endings = endings
        self._broadcaster = broadcaster
        self._wait_slots = threading.BoundedSemaphore(wait_count)
        self._upload_slots = threading.BoundedSemaphore(upload_count)

    def take_slot(self) -> "WaitSlot":
        """Take a wait slot; the caller must call `leave` on it.

        Raises:
            errors.ServerBusy: all slots are in use.
            errors.ServerStopping: the process is draining.
        """
        if self._broadcaster.is_draining:
            raise errors.ServerStopping("The server is shutting down; try again.")
        if not self._wait_slots.acquire(blocking=False):
            raise errors.ServerBusy("Too many requests are waiting for responses; poll instead, or try again.")
        return WaitSlot(self, self._broadcaster, self._wait_slots.release)

    @contextmanager
    def upload_slot(self) -> Iterator[None]:
        """Hold a slot of either kind while a request body is read, or waits to be stored: both may take a long time.

        Raises:
            errors.ServerBusy: all slots are in use.
        """
        if self._wait_slots.acquire(blocking=False):
            acquired_slots = self._wait_slots
        elif self._upload_slots.acquire(blocking=False):
            acquired_slots = self._upload_slots
        else:
            raise errors.ServerBusy("Too many requests are in progress; try again.")
        try:
            yield
        finally:
            acquired_slots.release()

    def document(self, response_id: str) -> str | None:
        """Return the document of an ended response; None if the response has not ended or does not exist."""

        def read() -> str | None:
            with self._database.connection() as connection:
                document = responses_sql.read_document(connection, response_id)
                return None if document is None else large_fields.load_text(connection, response_id, document)

        return self._database.run_with_retry(read)

    def has_ended(self, response_id: str) -> bool:
        """Return whether a response has ended; False if it does not exist."""

        def read() -> bool:
            with self._database.connection() as connection:
                return responses_sql.read_document(connection, response_id) is not None

        return self._database.run_with_retry(read)

    def cancel_orphan(self, response_id: str) -> None:
        """Cancel a foreground response after its client has disconnected."""
        try:
            self._endings.end(response_id, cancelled_outcome("its client disconnected"), lambda row: not row.background)
        except errors.StoreUnavailable as error:
            # Its `followed_until` is no longer renewed, so the sweeper cancels it.
            log.warning("cannot cancel after a disconnect", extra={"response": response_id, "cause": str(error)})

    def release_responses(self) -> None:
        """Allow the foreground responses of this process's clients to run to their end without a client.

        Call this if the process must exit before the responses have ended; otherwise the sweeper would cancel them.
        """
        response_ids = self._broadcaster.foreground_ids()
        if not response_ids:
            return
        try:
            with self._database.connection() as connection:
                followers_sql.clear_followed_until(connection, response_ids)
        except errors.StoreUnavailable as error:
            log.warning("cannot release responses", extra={"responses": len(response_ids), "cause": str(error)})
        else:
            log.warning("stopped while clients waited", extra={"responses": len(response_ids)})

    def delete_unstored(self, response_id: str) -> None:
        """Delete an unstored response after its delivery."""
        try:
            with self._database.connection() as connection:
                responses_sql.delete(connection, response_id)
        except errors.StoreUnavailable as error:
            log.warning("cannot delete an unstored response", extra={"response": response_id, "cause": str(error)})


class WaitSlot:
    """The wait slot of one request, for one response."""

    def __init__(self, wait_slots: WaitSlots, broadcaster: Broadcaster, release: Callable[[], None]) -> None:
        self._wait_slots = wait_slots
        self._broadcaster = broadcaster
        self._release: Callable[[], None] | None = release
        self._subscription: Subscription | None = None

    def leave(self) -> None:
        """Release the slot and end the subscription; may be called more than once."""
        release, self._release = self._release, None
        if self._subscription is not None:
            self._broadcaster.unsubscribe(self._subscription)
        if release is not None:
            release()

    def wait(self, response_id: str, timeout_s: float, *, keeps_alive: bool = False) -> bool:
        """Wait up to `timeout_s` seconds for the end of the response; return whether it has ended.

        The first call subscribes to the response, until `leave`. An outage of Postgres does not end the wait,
        because the broadcaster polls Postgres every second.

        Args:
            keeps_alive: whether to keep a foreground response alive during the wait.
        """
        if self._subscription is None:
            self._subscription = self._broadcaster.subscribe(response_id, keeps_alive=keeps_alive)
            try:
                # The response may have ended before the subscription began.
                if self._wait_slots.has_ended(response_id):
                    return True
            except errors.StoreUnavailable as error:
                log.warning("cannot check for the end", extra={"response": response_id, "cause": str(error)})
        return self._subscription.wait_for_end(timeout_s)

"""Waiting for responses: who may, for how long, and what becomes of a response when nobody does any more."""

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


class Waiting:
    """Places for those who wait for responses, and what becomes of a response that somebody waited for.

    Args:
        places: how many may wait at once; the threads beyond are for those who do not.
        uploads: how many of these may have a body under way, besides those that find a place.
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
        """A place among those who may wait; to be left.

        Raises:
            errors.Busy: there is none.
            errors.Stopping: there will be none.
        """
        if self._broadcaster.drains:
            raise errors.Stopping("The server is shutting down; try again.")
        if not self._places.acquire(blocking=False):
            raise errors.Busy("Too many requests wait for responses; poll, or try again.")
        return WaitSlot(self, self._broadcaster, self._places.release)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Keep a thread for a body while it is read: its client may take as long as it likes to send it.

        Raises:
            errors.Busy: there is none.
        """
        semaphore = next(
            (semaphore for semaphore in (self._places, self._uploads) if semaphore.acquire(blocking=False)), None
        )
        if semaphore is None:
            raise errors.Busy("Too many requests are under way; try again.")
        try:
            yield
        finally:
            semaphore.release()

    def document(self, response_id: str) -> str | None:
        """The document of a response that ended; None while it has not, or when it is gone."""

        def read() -> str | None:
            with self._database.connection() as connection:
                return store.document(connection, response_id)

        return self._database.again(read)

    def cancel_orphan(self, response_id: str) -> None:
        """End a foreground response whose client has gone."""
        try:
            self._endings.end(response_id, cancelled("its client went away"), lambda row: not row.background)
        except errors.StoreUnavailable as error:
            # Nobody follows it any more: the sweeper ends it.
            log.warning("cannot cancel for a client that went", extra={"response": response_id, "cause": str(error)})

    def release(self) -> None:
        """Let the foreground responses that are waited for here go on to their end: this process must leave."""
        response_ids = self._broadcaster.renewed_ids()
        if not response_ids:
            return
        try:
            with self._database.connection() as connection:
                followers_sql.release(connection, response_ids)
        except errors.StoreUnavailable as error:
            log.warning("cannot let go", extra={"responses": len(response_ids), "cause": str(error)})
        else:
            log.warning("left while somebody waited", extra={"responses": len(response_ids)})

    def forget(self, response_id: str) -> None:
        """Delete a response that is not stored, now that it was delivered."""
        try:
            with self._database.connection() as connection:
                store.delete(connection, response_id)
        except errors.StoreUnavailable as error:
            log.warning("cannot forget", extra={"response": response_id, "cause": str(error)})


class WaitSlot:
    """One request's place among those who may wait, for one response."""

    def __init__(self, waiting: Waiting, broadcaster: Broadcaster, release: Callable[[], None]) -> None:
        self._waiting = waiting
        self._broadcaster = broadcaster
        self._release: Callable[[], None] | None = release
        self._subscription: Subscription | None = None

    def leave(self) -> None:
        """Leave the place to others; again is harmless."""
        release, self._release = self._release, None
        if self._subscription is not None:
            self._broadcaster.leave(self._subscription)
        if release is not None:
            release()

    def wait(self, response_id: str, for_s: float, *, follow: bool = False) -> bool:
        """Whether the response ended within so long; from the first call on until the place is left, it is waited for.

        Postgres being away is no end: it is asked again, for all who wait, every second.
        """
        if self._subscription is None:
            self._subscription = self._broadcaster.follow(response_id, keeps=follow)
            try:
                # It may have ended before anybody listened.
                if self._waiting.document(response_id) is not None:
                    return True
            except errors.StoreUnavailable as error:
                log.warning("cannot look whether it has ended", extra={"response": response_id, "cause": str(error)})
        return self._subscription.wait_for_end(for_s)

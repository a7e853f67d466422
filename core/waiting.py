"""Waiting for responses to end: one hub a process, however many wait."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import redis

from core import errors
from core.bus import ENDED_CHANNEL
from core.db import Database
from core.endings import Endings, cancelled
from core.store import followers
from core.store import responses as store

log = logging.getLogger(__name__)

CHECK_S = 1.0
_AGAIN_S = 0.5


class Waiting:
    """Wakes whoever waits for a response as soon as it has ended: at once by Redis, else within a second.

    Args:
        places: how many may wait at once; the threads beyond are for those who do not.
        follow_s: for how long a foreground response goes on that no process says is waited for.
    """

    def __init__(self, database: Database, endings: Endings, redis_url: str, *, places: int, follow_s: float) -> None:
        self._database = database
        self._endings = endings
        self._redis_url = redis_url
        self._follow_s = follow_s
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = defaultdict(list)
        self._followed: set[str] = set()
        self._closed = threading.Event()
        self._started = False

    def place(self) -> "Place":
        """A place among those who may wait; to be left.

        Raises:
            errors.Busy: there is none.
        """
        if not self._places.acquire(blocking=False):
            raise errors.Busy("Too many requests wait for responses to end; poll, or try again.")
        self._start()
        return Place(self, self._places.release)

    def close(self) -> None:
        """Stop the hub's threads."""
        self._closed.set()

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started = True
        for target in (self._listen, self._check_for_ever):
            threading.Thread(target=target, name=f"waiting-{target.__name__}", daemon=True).start()

    def enter(self, response_id: str, *, follow: bool) -> threading.Event:
        """Begin to wait; `follow` keeps a foreground response alive meanwhile."""
        event = threading.Event()
        with self._lock:
            self._waiting[response_id].append(event)
            if follow:
                self._followed.add(response_id)
        return event

    def leave(self, response_id: str, event: threading.Event) -> None:
        """Wait no more."""
        with self._lock:
            self._followed.discard(response_id)
            self._waiting[response_id].remove(event)
            if not self._waiting[response_id]:
                del self._waiting[response_id]

    def document(self, response_id: str) -> str | None:
        """The document of a response that ended; None while it has not, or when it is gone."""

        def read() -> str | None:
            with self._database.connection() as connection:
                return store.document(connection, response_id)

        return self._database.again(read)

    def abandon(self, response_id: str) -> None:
        """End a foreground response whose client has gone."""
        try:
            self._endings.end(response_id, cancelled("its client went away"), lambda row: not row.background)
        except errors.StoreUnavailable as error:
            # Nobody follows it any more: the sweeper ends it.
            log.warning("cannot cancel for a client that went", extra={"response": response_id, "cause": str(error)})

    def forget(self, response_id: str) -> None:
        """Delete a response that is not stored, now that it was delivered."""
        try:
            with self._database.connection() as connection:
                store.delete(connection, response_id)
        except errors.StoreUnavailable as error:
            log.warning("cannot forget", extra={"response": response_id, "cause": str(error)})

    def _wake(self, response_ids: set[str]) -> None:
        with self._lock:
            for response_id in response_ids & self._waiting.keys():
                for event in self._waiting[response_id]:
                    event.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            client = redis.Redis.from_url(self._redis_url, socket_connect_timeout=2, health_check_interval=10)
            try:
                with client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(ENDED_CHANNEL)
                    while not self._closed.is_set():
                        message = subscription.get_message(timeout=5)
                        if message is not None:
                            self._wake({message["data"].decode()})
            except (redis.RedisError, OSError) as error:
                log.warning("cannot hear of ends", extra={"cause": repr(error)})
            finally:
                client.close()
            self._closed.wait(_AGAIN_S)

    def _check_for_ever(self) -> None:
        renewed_at = time.monotonic()
        while not self._closed.wait(CHECK_S):
            with self._lock:
                waiting, followed = list(self._waiting), list(self._followed)
            if not waiting:
                continue
            try:
                with self._database.connection() as connection:
                    self._wake(followers.ended(connection, waiting))
                    if followed and time.monotonic() - renewed_at > self._follow_s / 4:
                        renewed_at = time.monotonic()
                        followers.renew(connection, followed, self._follow_s)
            except errors.StoreUnavailable as error:
                log.warning("cannot check what is waited for", extra={"cause": str(error)})


class Place:
    """One request's place among those who may wait."""

    def __init__(self, waiting: Waiting, release: Callable[[], None]) -> None:
        self._waiting = waiting
        self._release: Callable[[], None] | None = release

    def leave(self) -> None:
        """Leave the place to others; again is harmless."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def wait(self, response_id: str, for_s: float, *, follow: bool = False) -> bool:
        """Whether the response ended within so long."""
        event = self._waiting.enter(response_id, follow=follow)
        try:
            # It may have ended before anybody listened.
            return self._waiting.document(response_id) is not None or event.wait(for_s)
        finally:
            self._waiting.leave(response_id, event)

"""Waiting for responses to end: one hub a process, however many wait."""

import logging
import threading
import time
from collections import Counter, defaultdict
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
        self._followed: Counter[str] = Counter()
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
            self._followed[response_id] += follow
        return event

    def leave(self, response_id: str, event: threading.Event, *, follow: bool) -> None:
        """Wait no more."""
        with self._lock:
            self._followed[response_id] -= follow
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

    def let_go(self) -> None:
        """Let the foreground responses that are waited for here go on to their end: this process must leave."""
        with self._lock:
            response_ids = list(+self._followed)
        if not response_ids:
            return
        try:
            with self._database.connection() as connection:
                followers.let_go(connection, response_ids)
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
                self._followed = +self._followed
                waiting, followed = list(self._waiting), list(self._followed)
            if not waiting:
                continue
            try:
                with self._database.connection() as connection:
                    self._wake(followers.ended(connection, waiting))
                    if followed and time.monotonic() - renewed_at > self._follow_s / 4:
                        followers.renew(connection, followed, self._follow_s)
                        renewed_at = time.monotonic()
            except errors.StoreUnavailable as error:
                log.warning("cannot check what is waited for", extra={"cause": str(error)})


class Place:
    """One request's place among those who may wait, for one response."""

    def __init__(self, waiting: Waiting, release: Callable[[], None]) -> None:
        self._waiting = waiting
        self._release: Callable[[], None] | None = release
        self._leave: Callable[[], None] | None = None
        self._event: threading.Event | None = None

    def leave(self) -> None:
        """Leave the place to others; again is harmless."""
        leave, self._leave = self._leave, None
        release, self._release = self._release, None
        if leave is not None:
            leave()
        if release is not None:
            release()

    def wait(self, response_id: str, for_s: float, *, follow: bool = False) -> bool:
        """Whether the response ended within so long; from the first call on until the place is left, it is waited for.

        Postgres being away is no end: it is asked again, for all who wait, every second.
        """
        if self._event is None:
            event = self._event = self._waiting.enter(response_id, follow=follow)
            self._leave = lambda: self._waiting.leave(response_id, event, follow=follow)
            try:
                # It may have ended before anybody listened.
                if self._waiting.document(response_id) is not None:
                    return True
            except errors.StoreUnavailable as error:
                log.warning("cannot look whether it has ended", extra={"response": response_id, "cause": str(error)})
        return self._event.wait(for_s)

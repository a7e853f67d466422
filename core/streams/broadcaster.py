"""The hub of a process: one listener and one look at Postgres each second, however many follow a response."""

import logging
import secrets
import threading
import time
from collections import deque
from functools import partial

import redis
from redis.client import PubSub

from core import errors
from core.database import Database
from core.notify.bus import ENDED_CHANNEL, Bus, Notice, events_channel, follow_channel, notice
from core.streams import followers_sql as subscriptions

log = logging.getLogger(__name__)

CHECK_S = 1.0
_AGAIN_S = 0.5
_PING_S = 5  # of silence, until Redis is asked whether it is there
# What a follower may leave lying here; beyond, it reads Postgres again from where it is.
BUFFER_BYTES = 1024 * 1024
_AT_ONCE = 500  # messages taken before the channels are looked at again


class Subscription:
    """One who follows a response: what came for it, and whether it should look into Postgres.

    Args:
        reads: whether it wants the events, or only the end.
        keeps: whether it keeps a foreground response alive.
    """

    def __init__(self, response_id: str, *, reads: bool, keeps: bool) -> None:
        self.response_id = response_id
        self.reads = reads
        self.keeps = keeps
        self.next_seq = 0  # as far as it has read
        self._changed = threading.Condition()
        self._notices: deque[Notice] = deque()
        self._bytes = 0
        self._look = True
        self._ended = False
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the response is known to have ended, or to be gone."""
        return self._ended

    @property
    def closed(self) -> bool:
        """Whether the hub closes, and nothing more will come."""
        return self._closed

    def push(self, news: Notice) -> None:
        """Leave a notice for it."""
        with self._changed:
            size = len(news.data or b"")
            if news.data is None or self._bytes + size > BUFFER_BYTES:
                self._look_instead()
            elif not self._look:
                # Who is to look finds it in Postgres.
                self._notices.append(news)
                self._bytes += size
            self._changed.notify_all()

    def _look_instead(self) -> None:
        self._notices.clear()
        self._bytes = 0
        self._look = True

    def look(self) -> None:
        """Have it look into Postgres."""
        with self._changed:
            self._look = True
            self._changed.notify_all()

    def end(self) -> None:
        """Tell it that the response has ended, or is gone."""
        with self._changed:
            self._ended = self._look = True
            self._changed.notify_all()

    def close(self) -> None:
        """Tell it that nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_for_end(self, for_s: float) -> bool:
        """Whether the response ended within so long; False at once where nothing more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._closed, for_s)
            return self._ended

    def wait(self, for_s: float) -> bool:
        """Whether there was something to do within so long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._look or bool(self._notices) or self._closed, for_s)

    def wait_to_close(self, for_s: float) -> None:
        """Wait so long, or until the hub closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, for_s)

    def must_look(self) -> bool:
        """Whether it should look into Postgres; to be asked before each look, as more may come meanwhile."""
        with self._changed:
            look, self._look = self._look, False
            return look

    def take(self) -> list[bytes]:
        """The events that came and follow on what it has read; where some are missing, it is to look."""
        lines: list[bytes] = []
        with self._changed:
            while self._notices:
                news = self._notices.popleft()
                assert news.data is not None
                self._bytes -= len(news.data)
                if news.first_seq > self.next_seq:
                    self._look_instead()
                    break
                if news.first_seq + news.n > self.next_seq:
                    lines += news.data.split(b"\n")[self.next_seq - news.first_seq :]
                    self.next_seq = news.first_seq + news.n
        return lines


class Broadcaster:
    """Tells followers what is committed of the responses they follow: at once by Redis, else within a second.

    Args:
        follow_s: for how long a foreground response goes on that no process says is waited for.
    """

    def __init__(self, database: Database, bus: Bus, *, follow_s: float) -> None:
        self._database = database
        self._bus = bus
        self._follow_s = follow_s
        self._id = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._stale = False  # whether the listener hears other channels than it should
        self._draining = threading.Event()
        self._closed = threading.Event()
        self._started = False

    def follow(self, response_id: str, *, reads: bool = False, keeps: bool = False) -> Subscription:
        """Begin to follow a response; to be left."""
        subscription = Subscription(response_id, reads=reads, keeps=keeps)
        with self._lock:
            self._subscriptions.setdefault(response_id, set()).add(subscription)
            self._stale = True
            begin, self._started = not self._started, True
        if begin:
            for target in (self._listen, self._check_for_ever):
                threading.Thread(target=target, name=f"hub-{target.__name__}", daemon=True).start()
        elif reads:
            self._bus.followed(self._id)
        if self.drains and not keeps:
            subscription.close()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Follow no more; again is harmless."""
        with self._lock:
            others = self._subscriptions.get(subscription.response_id, set())
            others.discard(subscription)
            self._stale = True
            if not others:
                self._subscriptions.pop(subscription.response_id, None)

    @property
    def drains(self) -> bool:
        """Whether nobody new is told anything."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Tell all who can come back elsewhere that nothing more will come.

        Whoever waits for a foreground response, or streams one, has nothing to come back with, and goes on waiting.
        """
        self._draining.set()
        with self._lock:
            subscriptions = [one for those in self._subscriptions.values() for one in those]
        for subscription in subscriptions:
            if not subscription.keeps:
                subscription.close()

    def close(self) -> None:
        """Drain, and stop the threads."""
        self.drain()
        self._closed.set()

    def renewed_ids(self) -> list[str]:
        """The foreground responses that somebody here keeps alive."""
        with self._lock:
            return [
                one for one, those in self._subscriptions.items() if any(subscription.keeps for subscription in those)
            ]

    def _of(self, response_id: str) -> list[Subscription]:
        with self._lock:
            return list(self._subscriptions.get(response_id, ()))

    def _listen(self) -> None:
        while not self._closed.is_set():
            client = redis.Redis.from_url(
                self._bus.redis_url,
                socket_connect_timeout=2,
                socket_timeout=5,
                socket_keepalive=True,
                health_check_interval=_PING_S,
            )
            try:
                with client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    self._hear(subscription)
            except (redis.RedisError, OSError) as error:
                log.warning("cannot hear events", extra={"cause": repr(error)})
            finally:
                client.close()
            self._closed.wait(_AGAIN_S)

    def _hear(self, subscription: PubSub) -> None:
        subscription.subscribe(ENDED_CHANNEL, follow_channel(self._id))
        heard: set[str] = set()
        self._stale = True
        while not self._closed.is_set():
            if self._stale:
                heard = self._hear_all_read(subscription, heard)
            if subscription.health_check_response_counter > 1:
                # The client library goes on for ever where its pings are not answered.
                raise redis.ConnectionError("no answer to a ping")
            message = subscription.get_message(timeout=CHECK_S)
            for _ in range(_AT_ONCE):
                if message is None:
                    break
                self._take(message)
                message = subscription.get_message(timeout=0)

    def _hear_all_read(self, subscription: PubSub, heard: set[str]) -> set[str]:
        with self._lock:
            self._stale = False
            read = {
                events_channel(response_id)
                for response_id, those in self._subscriptions.items()
                if any(one.reads for one in those)
            }
        if read - heard:
            subscription.subscribe(*(read - heard))
        if heard - read:
            subscription.unsubscribe(*(heard - read))  # type: ignore[no-untyped-call]
        return read

    def _take(self, message: dict[str, object]) -> None:
        channel, data = message["channel"], message["data"]
        assert isinstance(channel, bytes)
        if message["type"] == "subscribe":
            # What was committed before that was not heard.
            for subscription in self._of(channel.decode().rpartition(":")[2]):
                subscription.look()
        elif message["type"] == "message":
            assert isinstance(data, bytes)
            if channel == ENDED_CHANNEL.encode():
                for subscription in self._of(data.decode()):
                    subscription.end()
            elif data:
                news = notice(data)
                for subscription in self._of(news.response_id):
                    if subscription.reads:
                        subscription.push(news)

    def _check_for_ever(self) -> None:
        renewed_at = time.monotonic()
        left_out: set[str] = set()
        while not self._closed.wait(CHECK_S):
            with self._lock:
                followed = [(response_id, list(those)) for response_id, those in self._subscriptions.items()]
            if not followed:
                continue
            due = time.monotonic() - renewed_at > self._follow_s / 4
            renewed_ids = [
                one for one, those in followed if (due or one in left_out) and any(each.keeps for each in those)
            ]
            try:
                # Again where a connection went stale: a renewal that is left out may be one too many.
                left_out = self._database.again(partial(self._keep, renewed_ids))
                found = self._database.again(partial(self._check, [response_id for response_id, _ in followed]))
            except errors.StoreUnavailable as error:
                log.warning("cannot check what is followed", extra={"cause": str(error)})
                continue
            if due:
                renewed_at = time.monotonic()
            for response_id, those in followed:
                for subscription in those:
                    _tell(subscription, found[response_id])
            left_out = self._insist(left_out)

    def _keep(self, renewed_ids: list[str]) -> set[str]:
        """Say that these are waited for; those that could not be told, as somebody has locked them or they ended."""
        if not renewed_ids:
            return set()
        with self._database.connection() as connection:
            return set(renewed_ids) - subscriptions.renew(connection, renewed_ids, self._follow_s)

    def _insist(self, left_out: set[str]) -> set[str]:
        """Wait for those that are locked, for a second or so in all; those that are left for the next time.

        Where a disk is slow a response is being written whenever one looks: who does not wait has no turn. One by one,
        as who waits while it holds others would hold up all that these need.
        """
        left = set(left_out)
        until = time.monotonic() + CHECK_S
        for response_id in sorted(left_out):
            if time.monotonic() > until:
                break
            try:
                with self._database.connection() as connection:
                    subscriptions.renew(connection, [response_id], self._follow_s, wait=True)
            except errors.StoreUnavailable as error:
                log.warning("cannot renew what is followed", extra={"response": response_id, "cause": str(error)})
            else:
                left.discard(response_id)
        return left

    def _check(self, followed: list[str]) -> dict[str, subscriptions.State]:
        with self._database.connection() as connection:
            return subscriptions.states(connection, followed)


def _tell(subscription: Subscription, state: subscriptions.State) -> None:
    if state.ended:
        subscription.end()
    elif state.next_seq > subscription.next_seq and subscription.reads:
        subscription.look()

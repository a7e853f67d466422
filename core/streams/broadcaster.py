"""The broadcaster of a process: one Redis listener and one Postgres poll per second for all subscriptions."""

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
from core.notify import redis_clients
from core.notify.bus import ENDED_CHANNEL, Bus, Notice, events_channel, follow_channel, notice
from core.streams import followers_sql as subscriptions

log = logging.getLogger(__name__)

CHECK_S = 1.0
_AGAIN_S = 0.5
_PING_S = 5  # seconds of silence before the listener pings Redis
# Maximum buffered events per subscription; beyond this, its reader reads Postgres from its current position.
BUFFER_BYTES = 1024 * 1024
_AT_ONCE = 500  # maximum messages processed before the channels are updated


class Subscription:
    """A subscription to a response: buffered notices, and whether its reader must read Postgres.

    Args:
        reads: whether it receives the events, or only the end.
        keeps: whether it keeps a foreground response alive.
    """

    def __init__(self, response_id: str, *, reads: bool, keeps: bool) -> None:
        self.response_id = response_id
        self.reads = reads
        self.keeps = keeps
        self.next_seq = 0  # sequence number of the next event to read
        self._changed = threading.Condition()
        self._notices: deque[Notice] = deque()
        self._bytes = 0
        self._look = True
        self._ended = False
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the response is known to have ended or to be deleted."""
        return self._ended

    @property
    def closed(self) -> bool:
        """Whether the process is draining, and no more notices follow."""
        return self._closed

    def push(self, news: Notice) -> None:
        """Add a notice to the buffer.

        If the notice has no events, or the buffer is full, the reader must read Postgres instead.
        """
        with self._changed:
            size = len(news.data or b"")
            if news.data is None or self._bytes + size > BUFFER_BYTES:
                self._look_instead()
            elif not self._look:
                # Not buffered if the reader must read Postgres anyway: it finds these events there.
                self._notices.append(news)
                self._bytes += size
            self._changed.notify_all()

    def _look_instead(self) -> None:
        self._notices.clear()
        self._bytes = 0
        self._look = True

    def look(self) -> None:
        """Make the reader read Postgres."""
        with self._changed:
            self._look = True
            self._changed.notify_all()

    def end(self) -> None:
        """Mark the response as ended or deleted, and make the reader read Postgres."""
        with self._changed:
            self._ended = self._look = True
            self._changed.notify_all()

    def close(self) -> None:
        """Mark the subscription as closed: no more notices follow."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_for_end(self, for_s: float) -> bool:
        """Wait up to `for_s` seconds for the end; returns whether the response has ended. Returns at once if closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._closed, for_s)
            return self._ended

    def wait(self, for_s: float) -> bool:
        """Wait up to `for_s` seconds; returns whether the reader has something to do."""
        with self._changed:
            return self._changed.wait_for(lambda: self._look or bool(self._notices) or self._closed, for_s)

    def wait_to_close(self, for_s: float) -> None:
        """Wait `for_s` seconds, or until the subscription is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, for_s)

    def must_look(self) -> bool:
        """Return and clear whether the reader must read Postgres.

        To be called before each read, so that an event committed during the read causes another one.
        """
        with self._changed:
            look, self._look = self._look, False
            return look

    def take(self) -> list[bytes]:
        """Remove and return the buffered events that follow `next_seq`.

        If events are missing before a notice, the buffer is discarded and the reader must read Postgres.
        """
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
    """Tells subscriptions what is committed of their responses: at once through Redis, otherwise within a second.

    Args:
        follow_s: how long a foreground response keeps running after the last renewal of its `followed_until`.
    """

    def __init__(self, database: Database, bus: Bus, *, follow_s: float) -> None:
        self._database = database
        self._bus = bus
        self._follow_s = follow_s
        self._id = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._stale = False  # whether the listener's channels may differ from those of the subscriptions
        self._draining = threading.Event()
        self._closed = threading.Event()
        self._started = False

    def follow(self, response_id: str, *, reads: bool = False, keeps: bool = False) -> Subscription:
        """Subscribe to a response; the caller must call `leave`."""
        subscription = Subscription(response_id, reads=reads, keeps=keeps)
        with self._lock:
            self._subscriptions.setdefault(response_id, set()).add(subscription)
            self._stale = True
            begin, self._started = not self._started, True
        if begin:
            for target in (self._listen, self._check_for_ever):
                threading.Thread(target=target, name=f"broadcaster-{target.__name__}", daemon=True).start()
        elif reads:
            self._bus.followed(self._id)
        if self.drains and not keeps:
            subscription.close()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """End a subscription; may be called more than once."""
        with self._lock:
            others = self._subscriptions.get(subscription.response_id, set())
            others.discard(subscription)
            self._stale = True
            if not others:
                self._subscriptions.pop(subscription.response_id, None)

    @property
    def drains(self) -> bool:
        """Whether the process is draining: new subscriptions are closed at once, unless they keep a response alive."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Close the subscriptions whose clients can continue at another process.

        A client that waits for a foreground response, or streams one, cannot resume: its subscription stays open.
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
        """The IDs of the foreground responses that subscriptions of this process keep alive."""
        with self._lock:
            return [
                one for one, those in self._subscriptions.items() if any(subscription.keeps for subscription in those)
            ]

    def _of(self, response_id: str) -> list[Subscription]:
        with self._lock:
            return list(self._subscriptions.get(response_id, ()))

    def _listen(self) -> None:
        while not self._closed.is_set():
            client = redis_clients.listening_client(self._bus.redis_url, ping_s=_PING_S)
            try:
                with client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    self._hear(subscription)
            except (redis.RedisError, OSError) as error:
                log.warning("cannot receive events", extra={"cause": repr(error)})
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
                # redis-py never raises by itself if its pings remain unanswered.
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
            # Events committed before the SUBSCRIBE took effect were not received.
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
                # Retried in case a pooled connection went stale: one missed renewal can get a response cancelled.
                left_out = self._database.again(partial(self._keep, renewed_ids))
                found = self._database.again(partial(self._check, [response_id for response_id, _ in followed]))
            except errors.StoreUnavailable as error:
                log.warning("cannot check subscribed responses", extra={"cause": str(error)})
                continue
            if due:
                renewed_at = time.monotonic()
            for response_id, those in followed:
                for subscription in those:
                    _tell(subscription, found[response_id])
            left_out = self._insist(left_out)

    def _keep(self, renewed_ids: list[str]) -> set[str]:
        """Renew `followed_until`; returns the IDs that were not renewed, because they are locked or have ended."""
        if not renewed_ids:
            return set()
        with self._database.connection() as connection:
            return set(renewed_ids) - subscriptions.renew(connection, renewed_ids, self._follow_s)

    def _insist(self, left_out: set[str]) -> set[str]:
        """Renew rows that were skipped, waiting for their locks; returns the IDs left for the next round.

        On a slow disk a running response's row is nearly always locked, so `SKIP LOCKED` starves: wait for each row.
        One row per statement, because a statement that waits for one row while it holds the locks of others blocks
        every writer of those. No new wait starts after about one second in total.
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
                log.warning("cannot keep a response alive", extra={"response": response_id, "cause": str(error)})
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

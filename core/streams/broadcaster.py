"""The broadcaster of a process: one Redis listener and one Postgres poll per second for all its subscriptions."""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable
from functools import partial

import redis
from redis.client import PubSub

from core import errors
from core.database import Database
from core.notify import redis_clients
from core.notify.bus import ENDED_CHANNEL, Bus, Notice, events_channel, follow_channel, parse_notice
from core.streams import followers_sql

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
_RECONNECT_DELAY_S = 0.5
_PING_INTERVAL_S = 5  # seconds without a message before the listener pings Redis
# Maximum size of the buffered events per subscription; beyond it, the reader must read the events from Postgres.
BUFFER_BYTES = 1024 * 1024
_MAX_MESSAGES = 500  # maximum number of messages processed before the channels are updated


class Subscription:
    """A subscription to a response: a buffer of notices, and whether the reader must read Postgres.

    Args:
        with_events: whether the subscription receives the events, or only the end.
        keeps_alive: whether the subscription keeps a foreground response alive.
    """

    def __init__(self, response_id: str, *, with_events: bool, keeps_alive: bool) -> None:
        self.response_id = response_id
        self.with_events = with_events
        self.keeps_alive = keeps_alive
        self.next_seq = 0  # sequence number of the next event to read
        self._condition = threading.Condition()
        self._notices: deque[Notice] = deque()
        self._buffered_bytes = 0
        self._must_read = True
        self._ended = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the process is draining, so that no more notices follow."""
        return self._closed

    def push_notice(self, notice: Notice) -> None:
        """Add a notice to the buffer.

        If the notice has no events, or the buffer is full, the reader must read Postgres instead.
        """
        with self._condition:
            size = len(notice.data or b"")
            if notice.data is None or self._buffered_bytes + size > BUFFER_BYTES:
                self._discard_notices()
            elif not self._must_read:  # a reader that must read Postgres finds the events there
                self._notices.append(notice)
                self._buffered_bytes += size
            self._condition.notify_all()

    def _discard_notices(self) -> None:
        self._notices.clear()
        self._buffered_bytes = 0
        self._must_read = True

    def request_read(self) -> None:
        """Make the reader read Postgres."""
        with self._condition:
            self._must_read = True
            self._condition.notify_all()

    def end(self) -> None:
        """Mark the response as ended or deleted, and make the reader read Postgres."""
        with self._condition:
            self._ended = self._must_read = True
            self._condition.notify_all()

    def close(self) -> None:
        """Mark the subscription as closed: no more notices follow."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until the response ends or the subscription is closed; return whether the response has ended."""
        with self._condition:
            self._condition.wait_for(lambda: self._ended or self._closed, timeout_s)
            return self._ended

    def wait_for_activity(self, timeout_s: float) -> bool:
        """Wait until the reader has something to read or the subscription is closed; return False on timeout."""
        with self._condition:
            return self._condition.wait_for(lambda: self._must_read or bool(self._notices) or self._closed, timeout_s)

    def wait_for_close(self, timeout_s: float) -> None:
        """Wait until the subscription is closed, but at most `timeout_s` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed, timeout_s)

    def take_read_request(self) -> bool:
        """Return whether the reader must read Postgres, and clear the request.

        Call this before each read, so that an event committed during the read causes another read.
        """
        with self._condition:
            must_read, self._must_read = self._must_read, False
            return must_read

    def take_events(self) -> list[bytes]:
        """Remove and return the buffered events that follow `next_seq`.

        If events are missing before a notice, the buffer is discarded and the reader must read Postgres.
        """
        lines: list[bytes] = []
        with self._condition:
            while self._notices:
                notice = self._notices.popleft()
                assert notice.data is not None
                self._buffered_bytes -= len(notice.data)
                if notice.first_seq > self.next_seq:
                    self._discard_notices()
                    break
                if notice.first_seq + notice.count > self.next_seq:
                    lines += notice.data.split(b"\n")[self.next_seq - notice.first_seq :]
                    self.next_seq = notice.first_seq + notice.count
        return lines


class Broadcaster:
    """Notifies subscriptions of committed events: immediately through Redis, or within a second by polling Postgres.

    Args:
        follow_s: seconds by which each renewal extends the `followed_until` of a foreground response.
    """

    def __init__(self, database: Database, bus: Bus, *, follow_s: float) -> None:
        self._database = database
        self._bus = bus
        self._follow_s = follow_s
        self._id = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._must_update_channels = False  # whether subscriptions have changed since the last update of the channels
        self._draining = threading.Event()
        self._closed = threading.Event()
        self._started = False

    def subscribe(self, response_id: str, *, with_events: bool = False, keeps_alive: bool = False) -> Subscription:
        """Subscribe to a response; the caller must call `unsubscribe`."""
        subscription = Subscription(response_id, with_events=with_events, keeps_alive=keeps_alive)
        with self._lock:
            self._subscriptions.setdefault(response_id, set()).add(subscription)
            self._must_update_channels = True
            must_start, self._started = not self._started, True
        if must_start:
            for target in (self._listen, self._poll_until_closed):
                threading.Thread(target=target, name=f"broadcaster-{target.__name__}", daemon=True).start()
        elif with_events:
            self._bus.wake_listener(self._id)
        if self.is_draining and not keeps_alive:
            subscription.close()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; may be called more than once."""
        with self._lock:
            subscriptions = self._subscriptions.get(subscription.response_id, set())
            subscriptions.discard(subscription)
            self._must_update_channels = True
            if not subscriptions:
                self._subscriptions.pop(subscription.response_id, None)

    @property
    def is_draining(self) -> bool:
        """Whether new subscriptions are closed immediately, unless they keep a response alive."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Close the subscriptions of clients that can continue on another API process.

        A client that waits for a foreground response, or streams one, cannot resume: its subscription stays open.
        """
        self._draining.set()
        with self._lock:
            subscriptions = [subscription for group in self._subscriptions.values() for subscription in group]
        for subscription in subscriptions:
            if not subscription.keeps_alive:
                subscription.close()

    def close(self) -> None:
        """Drain, and stop the threads."""
        self.drain()
        self._closed.set()

    def foreground_ids(self) -> list[str]:
        """Return the IDs of the foreground responses that subscriptions of this process keep alive."""
        with self._lock:
            return [response_id for response_id, group in self._subscriptions.items() if _any_keeps_alive(group)]

    def _subscriptions_of(self, response_id: str) -> list[Subscription]:
        with self._lock:
            return list(self._subscriptions.get(response_id, ()))

    def _listen(self) -> None:
        while not self._closed.is_set():
            client = redis_clients.listening_client(self._bus.redis_url, ping_interval_s=_PING_INTERVAL_S)
            try:
                with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                    self._receive_messages(pubsub)
            except (redis.RedisError, OSError) as error:
                log.warning("cannot receive events", extra={"cause": repr(error)})
            finally:
                client.close()
            self._closed.wait(_RECONNECT_DELAY_S)

    def _receive_messages(self, pubsub: PubSub) -> None:
        pubsub.subscribe(ENDED_CHANNEL, follow_channel(self._id))
        channels: set[str] = set()
        self._must_update_channels = True
        while not self._closed.is_set():
            if self._must_update_channels:
                channels = self._update_channels(pubsub, channels)
            if pubsub.health_check_response_counter > 1:
                # redis-py does not raise an error if its pings remain unanswered.
                raise redis.ConnectionError("no answer to a ping")
            message = pubsub.get_message(timeout=POLL_INTERVAL_S)
            for _ in range(_MAX_MESSAGES):
                if message is None:
                    break
                self._process_message(message)
                message = pubsub.get_message(timeout=0)

    def _update_channels(self, pubsub: PubSub, channels: set[str]) -> set[str]:
        """Listen to the channels of all subscriptions with events, and no others; return these channels."""
        with self._lock:
            self._must_update_channels = False
            required_channels = {
                events_channel(response_id)
                for response_id, group in self._subscriptions.items()
                if any(subscription.with_events for subscription in group)
            }
        if required_channels - channels:
            pubsub.subscribe(*(required_channels - channels))
        if channels - required_channels:
            pubsub.unsubscribe(*(channels - required_channels))  # type: ignore[no-untyped-call]
        return required_channels

    def _process_message(self, message: dict[str, object]) -> None:
        channel, data = message["channel"], message["data"]
        assert isinstance(channel, bytes)
        if message["type"] == "subscribe":
            # Events committed before the SUBSCRIBE took effect were not received.
            for subscription in self._subscriptions_of(channel.decode().rpartition(":")[2]):
                subscription.request_read()
        elif message["type"] == "message":
            assert isinstance(data, bytes)
            if channel == ENDED_CHANNEL.encode():
                for subscription in self._subscriptions_of(data.decode()):
                    subscription.end()
            elif data:
                notice = parse_notice(data)
                for subscription in self._subscriptions_of(notice.response_id):
                    if subscription.with_events:
                        subscription.push_notice(notice)

    def _poll_until_closed(self) -> None:
        renewed_at = time.monotonic()
        unrenewed_ids: set[str] = set()
        while not self._closed.wait(POLL_INTERVAL_S):
            with self._lock:
                groups = {response_id: list(group) for response_id, group in self._subscriptions.items()}
            if not groups:
                continue
            is_renewal_due = time.monotonic() - renewed_at > self._follow_s / 4
            renewal_ids = [
                response_id
                for response_id, group in groups.items()
                if (is_renewal_due or response_id in unrenewed_ids) and _any_keeps_alive(group)
            ]
            try:
                # Retry, so that a stale connection of the pool does not delay the renewals.
                unrenewed_ids = self._database.run_with_retry(partial(self._renew, renewal_ids))
                states = self._database.run_with_retry(partial(self._read_states, list(groups)))
            except errors.StoreUnavailable as error:
                log.warning("cannot check subscribed responses", extra={"cause": str(error)})
                continue
            if is_renewal_due:
                renewed_at = time.monotonic()
            for response_id, group in groups.items():
                for subscription in group:
                    _apply_state(subscription, states[response_id])
            unrenewed_ids = self._renew_locked(unrenewed_ids)

    def _renew(self, response_ids: list[str]) -> set[str]:
        """Renew `followed_until`; return the IDs of the skipped responses: locked elsewhere, or ended."""
        if not response_ids:
            return set()
        with self._database.connection() as connection:
            return set(response_ids) - followers_sql.renew(connection, response_ids, self._follow_s)

    def _renew_locked(self, response_ids: set[str]) -> set[str]:
        """Renew rows that were skipped, waiting for their locks; return the IDs that remain for the next round.

        On a slow disk a running response's row is nearly always locked, so `SKIP LOCKED` starves: wait for each row.
        Each statement locks a single row: while a statement waits for one row, all rows that it has already locked
        are blocked for other writers. No wait begins later than `POLL_INTERVAL_S` after the first.
        """
        remaining_ids = set(response_ids)
        deadline = time.monotonic() + POLL_INTERVAL_S
        for response_id in sorted(response_ids):
            if time.monotonic() > deadline:
                break
            try:
                with self._database.connection() as connection:
                    followers_sql.renew(connection, [response_id], self._follow_s, wait=True)
            except errors.StoreUnavailable as error:
                log.warning("cannot keep a response alive", extra={"response": response_id, "cause": str(error)})
            else:
                remaining_ids.discard(response_id)
        return remaining_ids

    def _read_states(self, response_ids: list[str]) -> dict[str, followers_sql.ResponseState]:
        with self._database.connection() as connection:
            return followers_sql.read_states(connection, response_ids)


def _any_keeps_alive(subscriptions: Iterable[Subscription]) -> bool:
    return any(subscription.keeps_alive for subscription in subscriptions)


def _apply_state(subscription: Subscription, state: followers_sql.ResponseState) -> None:
    if state.has_ended:
        subscription.end()
    elif state.next_seq > subscription.next_seq and subscription.with_events:
        subscription.request_read()

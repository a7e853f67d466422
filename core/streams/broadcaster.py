"""The broadcaster of a process: one Redis listener and one Postgres poll per second for all its subscriptions."""

import logging
import secrets
import threading
import time
from collections.abc import Iterable
from functools import partial

import redis
from redis.client import PubSub

from core import errors
from core.database import Database
from core.notify import redis_clients
from core.notify.bus import (
    ENDED_CHANNEL,
    Bus,
    events_channel,
    follow_channel,
    parse_end_notice,
    parse_notice,
)
from core.streams import followers_sql
from core.streams.subscription import Subscription

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
_RECONNECT_DELAY_S = 0.5
_PING_INTERVAL_S = 5  # seconds without a message before the listener pings Redis
# Minimum interval between two polls that unsigned notices cause.
_MIN_POLL_INTERVAL_S = 0.05
_MAX_CAUSE_CHARS = 200
_MAX_MESSAGES = 500  # maximum number of messages processed before the channels are updated


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
        self._must_poll = threading.Event()  # whether the next poll of Postgres must not wait
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
        self._must_poll.set()

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
            try:
                self._process_notice(channel, data)
            except ValueError as error:
                log.warning("dropped a notice", extra={"cause": repr(error)[:_MAX_CAUSE_CHARS]})

    def _process_notice(self, channel: bytes, data: bytes) -> None:
        """Pass a notice on to the subscriptions of its response; raise ValueError if it is invalid."""
        if channel == ENDED_CHANNEL.encode():
            end_notice = parse_end_notice(data, self._bus.signatures)
            subscriptions = self._subscriptions_of(end_notice.response_id)
            if subscriptions and not end_notice.is_signed:
                self._must_poll.set()  # another program may have sent the notice
                return
            for subscription in subscriptions:
                subscription.end()
        elif data:
            notice = parse_notice(data, self._bus.signatures)
            for subscription in self._subscriptions_of(notice.response_id):
                if subscription.with_events:
                    subscription.push_notice(notice)

    def _poll_until_closed(self) -> None:
        renewed_at = time.monotonic()
        unrenewed_ids: set[str] = set()
        while self._wait_for_next_poll():
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

    def _wait_for_next_poll(self) -> bool:
        """Wait until the next poll is due; return False if the broadcaster is closed."""
        if self._closed.wait(_MIN_POLL_INTERVAL_S):
            return False
        self._must_poll.wait(POLL_INTERVAL_S - _MIN_POLL_INTERVAL_S)
        self._must_poll.clear()
        return not self._closed.is_set()

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

"""Publisher of notifications between processes over Redis pub/sub; losing a notification costs only latency."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import redis

from core.breaker import Breaker
from core.notify import redis_clients
from core.notify.batch import Batch
from core.notify.signatures import Signatures

log = logging.getLogger(__name__)

# Larger batches are published without their events, so that Redis does not need to buffer the events for slow
# subscribers. Subscribers then read the events from Postgres.
MAX_SENT_BYTES = 256 * 1024

# Channel on which every process receives the ID of every response that has ended.
ENDED_CHANNEL = "backburner:ended"
# Not `backburner:events:`, on which programs without signatures published: they cannot read signed notices.
_EVENTS_CHANNEL_PREFIX = "backburner:output:"


def stop_channel(worker_id: str) -> str:
    """Return the channel on which a worker receives the IDs of its responses that other processes have ended."""
    return f"backburner:stop:{worker_id}"


def events_channel(response_id: str) -> str:
    """Return the channel on which subscribers of a response receive its committed events."""
    return _EVENTS_CHANNEL_PREFIX + response_id


def follow_channel(listener_id: str) -> str:
    """Return the channel through which a broadcaster wakes its own listener, which then updates its channels."""
    return f"backburner:follow:{listener_id}"


@dataclass(frozen=True)
class Notice:
    """A range of committed events of one response.

    Args:
        first_seq: the sequence number of the first event.
        count: the number of events.
        data: the events as JSON Lines; None if they exceed `MAX_SENT_BYTES`, or have no valid signature.
    """

    response_id: str
    first_seq: int
    count: int
    data: bytes | None


@dataclass(frozen=True)
class EndNotice:
    """The end of a response.

    Args:
        is_signed: whether the notice has a valid signature. Without one, only Postgres can tell whether it is true.
    """

    response_id: str
    is_signed: bool


def parse_notice(message: bytes, signatures: Signatures) -> Notice:
    """Parse a message received on a response's events channel.

    Raises:
        ValueError: the message is invalid.
    """
    head, _, data = message.partition(b"\n")
    response_id, first_seq, count, *signature = head.decode().split(" ")
    notice = Notice(response_id, int(first_seq), int(count), data or None)
    is_signed = bool(signature) and signatures.is_valid(_signed_part(notice), signature[0].encode())
    return notice if is_signed else replace(notice, data=None)


def parse_end_notice(message: bytes, signatures: Signatures) -> EndNotice:
    """Parse a message received on `ENDED_CHANNEL` or on the stop channel of a worker.

    Raises:
        ValueError: the message is invalid.
    """
    response_id, _, signature = message.partition(b" ")
    return EndNotice(response_id.decode(), signatures.is_valid(_signed_end(response_id.decode()), signature))


def _signed_part(notice: Notice) -> bytes:
    return f"{notice.response_id} {notice.first_seq} {notice.count}\n".encode() + (notice.data or b"")


def _signed_end(response_id: str) -> bytes:
    return f"ended {response_id}".encode()


class Bus:
    """Publishes notifications. After a failure of Redis, only one caller per second tries to publish."""

    def __init__(self, redis_url: str, signatures: Signatures) -> None:
        self.redis_url = redis_url
        self.signatures = signatures
        self._redis = redis_clients.command_client(redis_url)
        self._breaker = Breaker()

    def publish_stop(self, worker_id: str, response_id: str) -> None:
        """Inform a worker that another process has ended a response that the worker runs."""
        # If this message is lost, the worker's next flush or lease renewal is rejected.
        self._publish([(stop_channel(worker_id), self._encode_end(response_id))])

    def publish_ends(self, last_batches: Sequence[Batch]) -> None:
        """Publish the last events of ended responses to their subscribers, and their IDs to all processes."""
        end_messages = [(ENDED_CHANNEL, self._encode_end(batch.response_id)) for batch in last_batches]
        self._publish([*self._event_messages(last_batches), *end_messages])

    def publish_events(self, batches: Sequence[Batch]) -> None:
        """Publish committed events to the subscribers of their responses, in one round trip."""
        self._publish(self._event_messages(batches))

    def _event_messages(self, batches: Sequence[Batch]) -> list[tuple[str, bytes]]:
        return [(events_channel(batch.response_id), self._encode_batch(batch)) for batch in batches if batch.lines]

    def _encode_batch(self, batch: Batch) -> bytes:
        """Return the notice of a batch, with its events if they can be signed and are not too long."""
        data = "\n".join(batch.lines).encode() if self.signatures.has_key else b""
        if not data or len(data) > MAX_SENT_BYTES:
            return _signed_part(Notice(batch.response_id, batch.first_seq, len(batch.lines), None))
        signed_part = _signed_part(Notice(batch.response_id, batch.first_seq, len(batch.lines), data))
        return signed_part.replace(b"\n", b" " + self.signatures.sign(signed_part) + b"\n", 1)

    def _encode_end(self, response_id: str) -> bytes:
        signed_end = _signed_end(response_id)
        signature = b" " + self.signatures.sign(signed_end) if self.signatures.has_key else b""
        return response_id.encode() + signature

    def wake_listener(self, listener_id: str) -> None:
        """Wake the listener of a broadcaster, so that the listener updates its channels."""
        self._publish([(follow_channel(listener_id), b"")])

    def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if not messages:
            return
        try:
            with self._breaker.guard_call(redis.RedisError) as may_try:
                if may_try:
                    with self._redis.pipeline(transaction=False) as pipeline:
                        for channel, message in messages:
                            pipeline.publish(channel, message)
                        pipeline.execute()
        except redis.RedisError as error:
            log.warning("cannot publish", extra={"cause": repr(error)})

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            redis.RedisError: Redis is unavailable.
        """
        self._redis.ping()

    def close(self) -> None:
        self._redis.close()

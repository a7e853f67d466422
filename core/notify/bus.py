"""Live notices between processes over Redis pub/sub; losing one costs latency only."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from core.breaker import Breaker
from core.notify.batch import Batch

log = logging.getLogger(__name__)

# A Redis that has not answered by then is away.
ANSWER_S = 0.5
# What is larger is only announced: who reads it takes it from Postgres, and Redis need not hold it for slow hubs.
SENT_BYTES = 256 * 1024


# Where every process hears of every response that ended.
ENDED_CHANNEL = "backburner:ended"
_EVENTS = "backburner:events:"


def stop_channel(worker_id: str) -> str:
    """Where a worker hears which of its responses ended without it."""
    return f"backburner:stop:{worker_id}"


def events_channel(response_id: str) -> str:
    """Where those who follow a response hear what was committed of its log."""
    return _EVENTS + response_id


def follow_channel(listener_id: str) -> str:
    """Where a hub tells its own listener that somebody follows another response."""
    return f"backburner:follow:{listener_id}"


@dataclass(frozen=True)
class Notice:
    """What was committed of a log: its numbers, and the events unless they were too large to send.

    Args:
        data: the events, each as JSON on a line of its own.
    """

    response_id: str
    first_seq: int
    n: int
    data: bytes | None


def notice(message: bytes) -> Notice:
    """A notice as it came from a response's channel."""
    head, _, data = message.partition(b"\n")
    response_id, first_seq, n = head.decode().split(" ")
    return Notice(response_id, int(first_seq), int(n), data or None)


def _messages(batches: Sequence[Batch]) -> list[tuple[str, bytes]]:
    return [(events_channel(batch.response_id), _message(batch)) for batch in batches if batch.lines]


def _message(batch: Batch) -> bytes:
    data = "\n".join(batch.lines).encode()
    head = f"{batch.response_id} {batch.first_seq} {len(batch.lines)}\n".encode()
    return head + data if len(data) <= SENT_BYTES else head


class Bus:
    """Publishes notices; a Redis that is away is tried again after a second."""

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, socket_keepalive=True
        )
        self._patience = Breaker()

    def stop(self, worker_id: str, response_id: str) -> None:
        """Tell a worker that a response it runs has ended."""
        # The worker learns it from a refused flush or at its next renewal, too.
        self._publish([(stop_channel(worker_id), response_id.encode())])

    def ended(self, last: Sequence[Batch]) -> None:
        """Tell whoever waits for responses that they have ended, and whoever follows them with which events."""
        ids = [(ENDED_CHANNEL, batch.response_id.encode()) for batch in last]
        self._publish([*_messages(last), *ids])

    def committed(self, batches: Sequence[Batch]) -> None:
        """Tell whoever follows these responses what was committed of their logs, in one round trip."""
        self._publish(_messages(batches))

    def followed(self, listener_id: str) -> None:
        """Wake a hub's listener."""
        self._publish([(follow_channel(listener_id), b"")])

    def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if not messages:
            return
        try:
            with self._patience.trying(redis.RedisError) as may_try:
                if may_try:
                    with self._redis.pipeline(transaction=False) as pipeline:
                        for channel, message in messages:
                            pipeline.publish(channel, message)
                        pipeline.execute()
        except redis.RedisError as error:
            log.warning("cannot publish", extra={"cause": repr(error)})

    def ping(self) -> None:
        """Return if Redis answers.

        Raises:
            redis.RedisError: it does not.
        """
        self._redis.ping()

    def close(self) -> None:
        self._redis.close()

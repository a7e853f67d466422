"""Live notices between processes over Redis pub/sub; losing one costs latency only."""

import logging

import redis

from core.patience import Patience

log = logging.getLogger(__name__)

# A Redis that has not answered by then is away.
ANSWER_S = 0.5

# Where every process hears of every response that ended.
ENDED_CHANNEL = "backburner:ended"


def stop_channel(worker_id: str) -> str:
    """Where a worker hears which of its responses ended without it."""
    return f"backburner:stop:{worker_id}"


class Bus:
    """Publishes notices; a Redis that is away is tried again after a second."""

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, socket_keepalive=True
        )
        self._patience = Patience()

    def stop(self, worker_id: str, response_id: str) -> None:
        """Tell a worker that a response it runs has ended."""
        # The worker learns it from a refused flush or at its next renewal, too.
        self._publish(stop_channel(worker_id), response_id)

    def ended(self, response_id: str) -> None:
        """Tell whoever waits for a response that it has ended."""
        self._publish(ENDED_CHANNEL, response_id)

    def _publish(self, channel: str, message: str) -> None:
        try:
            with self._patience.trying(redis.RedisError) as may_try:
                if may_try:
                    self._redis.publish(channel, message)
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

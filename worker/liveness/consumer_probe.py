"""Detects a stalled consumer: a worker that has free slots but receives no messages must be restarted."""

import asyncio
import logging
import time
from collections.abc import Callable

import redis.asyncio

from core.dispatch.celery_app import KEY_PREFIX, WORKER_QUEUE_TTL_S, worker_queue
from core.dispatch.doorbell import Doorbell
from core.notify import redis_clients
from core.notify.redis_clients import BACKGROUND
from worker.liveness.connection_errors import CONNECTION_ERRORS

log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 1.0


class ConsumerProbe:
    """Records when Celery's consumer receives messages, and sends it a ping when it receives none.

    A worker without free slots consumes nothing and is not stalled. While Redis is unavailable, no worker is stalled.

    Args:
        stalled_after_s: time in seconds after which an unconsumed ping means that the consumer is stalled, if Redis is
            available. A ping is sent after a third of this time without a message.
        has_free_slot: returns whether the worker has a free slot.
        on_stalled: called once, when the consumer is stalled.
    """

    def __init__(
        self,
        doorbell: Doorbell,
        redis_url: str,
        worker_id: str,
        *,
        stalled_after_s: float,
        has_free_slot: Callable[[], bool],
        on_stalled: Callable[[], None],
    ) -> None:
        self._doorbell = doorbell
        self._redis_url = redis_url
        self._worker_id = worker_id
        self._key = KEY_PREFIX + worker_queue(worker_id).name
        self._stalled_after_s = stalled_after_s
        self._has_free_slot = has_free_slot
        self._on_stalled = on_stalled
        self._unanswered_checks = 0
        self.last_message_at = time.monotonic()
        self.is_stalled = False

    def record_message(self) -> None:
        """Record that a message arrived."""
        self.last_message_at = time.monotonic()
        self._unanswered_checks = 0

    async def monitor_consumer(self) -> None:
        """Check the consumer every second until this coroutine is cancelled or the consumer is stalled."""
        client = redis_clients.async_client(self._redis_url, BACKGROUND, retry=False)
        async with client:
            while not self.is_stalled:
                await asyncio.sleep(_CHECK_INTERVAL_S)
                await self._check_consumer(client)
        log.critical(
            "consumer stalled",
            extra={"worker": self._worker_id, "for_s": round(time.monotonic() - self.last_message_at)},
        )
        self._on_stalled()

    async def _check_consumer(self, client: redis.asyncio.Redis) -> None:
        if not self._has_free_slot() or time.monotonic() - self.last_message_at < self._stalled_after_s / 3:
            self._unanswered_checks = 0
            return
        try:
            # Check with a write command, because a Redis server that becomes a replica still answers reads. The expiry
            # also removes pings that are never consumed.
            has_message = await client.pexpire(self._key, int(WORKER_QUEUE_TTL_S * 1000))
        except CONNECTION_ERRORS:
            self._unanswered_checks = 0  # Redis is unavailable: no worker receives messages
            return
        if has_message:
            # Count checks instead of seconds, because the clock also advances while the process is frozen.
            self._unanswered_checks += 1
            self.is_stalled = self._unanswered_checks * _CHECK_INTERVAL_S > self._stalled_after_s
        else:
            self._unanswered_checks = 0
            await asyncio.to_thread(self._doorbell.ping, self._worker_id)

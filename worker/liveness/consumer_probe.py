"""Detects a stalled consumer: a worker that has free slots but receives no messages is useless."""

import asyncio
import logging
import time
from collections.abc import Callable

import redis.asyncio

from core.dispatch.celery_app import KEY_PREFIX, PING_TTL_S, ping_queue
from core.dispatch.doorbell import Doorbell
from core.notify import redis_clients
from core.notify.redis_clients import BACKGROUND
from worker.liveness.lost import LOST

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class ConsumerProbe:
    """Records the messages that arrive through Celery's consumer, and sends a ping when none arrive.

    A worker whose slots are all taken consumes nothing and is not stalled; neither is one whose Redis is unavailable.

    Args:
        deaf_after_s: the worker is stalled if a ping stays in Redis for this long while Redis answers. A ping is sent
            after a third of this time without a message.
        free: returns whether the worker has a free slot.
        stalled: called once, when the consumer is found to be stalled.
    """

    def __init__(
        self,
        doorbell: Doorbell,
        redis_url: str,
        worker_id: str,
        *,
        deaf_after_s: float,
        free: Callable[[], bool],
        stalled: Callable[[], None],
    ) -> None:
        self._doorbell = doorbell
        self._redis_url = redis_url
        self._worker_id = worker_id
        self._key = KEY_PREFIX + ping_queue(worker_id).name
        self._stalled_after_s = deaf_after_s
        self._free = free
        self._stalled = stalled
        self._looks = 0
        self.heard_at = time.monotonic()
        self.is_stalled = False

    def heard(self) -> None:
        """Record that a message arrived."""
        self.heard_at = time.monotonic()
        self._looks = 0

    async def check_for_ever(self) -> None:
        """Check the consumer every second, until cancelled or stalled."""
        client = redis_clients.async_client(self._redis_url, BACKGROUND, retry=False)
        async with client:
            while not self.is_stalled:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._look(client)
        log.critical(
            "consumer stalled", extra={"worker": self._worker_id, "for_s": round(time.monotonic() - self.heard_at)}
        )
        self._stalled()

    async def _look(self, client: redis.asyncio.Redis) -> None:
        if not self._free() or time.monotonic() - self.heard_at < self._stalled_after_s / 3:
            self._looks = 0
            return
        try:
            # Use a write command, because Redis still answers reads during a failover. The expiry also removes pings
            # that are never consumed.
            lies_there = await client.pexpire(self._key, int(PING_TTL_S * 1000))
        except LOST:
            self._looks = 0  # Redis is unavailable: no worker receives messages
            return
        if lies_there:
            # Count checks instead of elapsed time, because time also passes while the process is frozen.
            self._looks += 1
            self.is_stalled = self._looks * LOOK_EVERY_S > self._stalled_after_s
        else:
            self._looks = 0
            await asyncio.to_thread(self._doorbell.ping, self._worker_id)

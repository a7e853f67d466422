"""Whether a worker hears what is rung for it: a worker with free slots that does not is worth nothing."""

import asyncio
import logging
import time
from collections.abc import Callable

import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.dispatch.celery_app import KEY_PREFIX, PING_TTL_S, ping_queue
from core.dispatch.doorbell import Doorbell
from worker.liveness.lost import LOST

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class ConsumerProbe:
    """Notes what comes through Celery's consumer, and asks for something where nothing comes.

    A worker whose slots are all taken does not listen and is not deaf; nor is one whose Redis is away.

    Args:
        deaf_after_s: a ping that lies in Redis for so long, while Redis answers, and the worker is deaf; a third of
            it with nothing heard, and a ping is sent.
        free: whether the worker has a free slot.
        deaf: called once, when the worker is found to be deaf.
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
        """Note that something came."""
        self.heard_at = time.monotonic()
        self._looks = 0

    async def check_for_ever(self) -> None:
        """Look every second, until cancelled or deaf."""
        client = redis.asyncio.Redis.from_url(
            self._redis_url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        async with client:
            while not self.is_stalled:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._look(client)
        log.critical("deaf", extra={"worker": self._worker_id, "for_s": round(time.monotonic() - self.heard_at)})
        self._stalled()

    async def _look(self, client: redis.asyncio.Redis) -> None:
        if not self._free() or time.monotonic() - self.heard_at < self._stalled_after_s / 3:
            self._looks = 0
            return
        try:
            # A write, since a Redis that fails over answers reads; and what nobody consumes must not stay.
            lies_there = await client.pexpire(self._key, int(PING_TTL_S * 1000))
        except LOST:
            self._looks = 0  # nobody hears anything now
            return
        if lies_there:
            # Looks are counted and not seconds, for those pass while a process is frozen.
            self._looks += 1
            self.is_stalled = self._looks * LOOK_EVERY_S > self._stalled_after_s
        else:
            self._looks = 0
            await asyncio.to_thread(self._doorbell.ping, self._worker_id)

"""A worker's presence: it says that it is there, hears what it must stop, and asks for more when it can."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence

import redis.asyncio
from redis.asyncio.client import PubSub

from core import errors
from core.dispatch.dispatcher import Dispatch
from core.notify.bus import stop_channel
from core.runs.attempts import Workers
from worker.liveness.lost import LOST

log = logging.getLogger(__name__)

_AGAIN_S = 0.5
_ANSWER_S = 5
# The least pause between two dispatches: one per end would cost more than the ends.
_PAUSE_S = 0.005


async def stamp_for_ever(
    workers: Workers,
    worker_id: str,
    lanes: Sequence[str],
    slots: int,
    every_s: float,
    stamped: Callable[[], None],
) -> None:
    """Say every `every_s` seconds that this worker is there; call `stamped` each time it is said."""
    while True:
        try:
            await asyncio.to_thread(
                workers.stamp, worker_id, hostname=socket.gethostname(), pid=os.getpid(), slots=slots, lanes=lanes
            )
            stamped()
        except errors.StoreUnavailable as error:
            log.warning("cannot say that this worker is there", extra={"cause": str(error)})
        await asyncio.sleep(every_s)


async def hear_stops_for_ever(
    redis_url: str,
    worker_id: str,
    stop: Callable[[str], None],
    *,
    answer_s: float = _ANSWER_S,
    again_s: float = _AGAIN_S,
) -> None:
    """Call `stop` with the ID of every response of this worker that somebody else ended.

    What is missed while Redis is away shows at the next flush or renewal.
    """
    while True:
        client = redis.asyncio.Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=answer_s)
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe(stop_channel(worker_id))
                await _hear(subscription, stop, answer_s)
        except LOST as error:
            log.warning("cannot hear stops", extra={"cause": repr(error)})
        finally:
            await client.aclose()
        await asyncio.sleep(again_s)


async def _hear(subscription: PubSub, stop: Callable[[str], None], answer_s: float) -> None:
    """Hear until the connection is lost; one on which a ping is not answered is."""
    pinged = False
    while True:
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=answer_s)
        if message is not None:
            pinged = False
            if message["type"] == "message":
                stop(message["data"].decode())
        elif pinged:
            raise redis.ConnectionError("no answer to a ping")
        else:
            await subscription.ping()
            pinged = True


class Freed:
    """That slots became free, or may be of use again, and whose they were."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._ran: list[str] = []

    def __call__(self, response_id: str | None = None) -> None:
        """Say that there may be room now, by the end of a run or otherwise."""
        if response_id is not None:
            self._ran.append(response_id)
        self._event.set()

    async def wait(self) -> list[str]:
        """Wait until somebody says so; what made room since the last time."""
        await self._event.wait()
        self._event.clear()
        ran, self._ran = self._ran, []
        return ran


async def dispatch_for_ever(dispatch: Dispatch, freed: Freed) -> None:
    """Ring for what waits whenever slots became free."""
    while True:
        ran = await freed.wait()
        started_at = time.monotonic()
        try:
            await asyncio.to_thread(dispatch.dispatch, ran)
        except errors.StoreUnavailable as error:
            log.warning("cannot dispatch", extra={"cause": str(error)})
            freed()
            await asyncio.sleep(_AGAIN_S)
        # A long dispatch is followed by a long pause, so that it never takes more than half of the time.
        await asyncio.sleep(max(_PAUSE_S, time.monotonic() - started_at))

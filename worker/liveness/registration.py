"""The registration of a worker: it updates its row, receives stop notices, and dispatches when slots become free."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import redis.asyncio
from redis.asyncio.client import PubSub

from core import errors
from core.dispatch.dispatcher import Dispatch
from core.notify import redis_clients
from core.notify.bus import stop_channel
from core.notify.redis_clients import LISTENER
from core.runs.attempts import Workers
from worker.liveness.lost import LOST

log = logging.getLogger(__name__)

_AGAIN_S = 0.5
# Minimum pause between two dispatches: one dispatch per ended response would cost more than ending the responses.
_PAUSE_S = 0.005


async def stamp_for_ever(
    workers: Workers,
    worker_id: str,
    lanes: Sequence[str],
    slots: int,
    every_s: float,
    stamped: Callable[[], None],
) -> None:
    """Update this worker's registration every `every_s` seconds; call `stamped` after each successful update."""
    while True:
        try:
            await asyncio.to_thread(
                workers.stamp, worker_id, hostname=socket.gethostname(), pid=os.getpid(), slots=slots, lanes=lanes
            )
            stamped()
        except errors.StoreUnavailable as error:
            log.warning("cannot update this worker's registration", extra={"cause": str(error)})
        await asyncio.sleep(every_s)


async def hear_stops_for_ever(
    redis_url: str,
    worker_id: str,
    stop: Callable[[str], None],
    *,
    answer_s: float = LISTENER.answer_s,
    again_s: float = _AGAIN_S,
) -> None:
    """Call `stop` with the ID of each response of this worker that another process ended.

    Notices that are missed while Redis is unavailable do no harm: the next flush or lease renewal detects the end.
    """
    while True:
        client = redis_clients.async_client(redis_url, replace(LISTENER, answer_s=answer_s))
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe(stop_channel(worker_id))
                await _hear(subscription, stop, answer_s)
        except LOST as error:
            log.warning("cannot receive stop notices", extra={"cause": repr(error)})
        finally:
            await client.aclose()
        await asyncio.sleep(again_s)


async def _hear(subscription: PubSub, stop: Callable[[str], None], answer_s: float) -> None:
    """Receive stop notices until the connection is lost. An unanswered ping counts as a lost connection."""
    pinged = False
    while True:
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=answer_s)
        if message is not None:
            pinged = False
            if message["type"] == "message":
                stop(message["data"].decode())
        elif pinged:
            raise redis.ConnectionError("ping not answered")
        else:
            await subscription.ping()
            pinged = True


class Freed:
    """Signals that slots became free or usable again, and records which responses occupied them."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._ran: list[str] = []

    def __call__(self, response_id: str | None = None) -> None:
        """Signal that there may be capacity now; pass the response if the end of its run is the reason."""
        if response_id is not None:
            self._ran.append(response_id)
        self._event.set()

    async def wait(self) -> list[str]:
        """Wait for a signal; return the IDs of the responses that freed slots since the last call."""
        await self._event.wait()
        self._event.clear()
        ran, self._ran = self._ran, []
        return ran


async def dispatch_for_ever(dispatch: Dispatch, freed: Freed) -> None:
    """Dispatch waiting responses whenever slots become free."""
    while True:
        ran = await freed.wait()
        started_at = time.monotonic()
        try:
            await asyncio.to_thread(dispatch.dispatch, ran)
        except errors.StoreUnavailable as error:
            log.warning("cannot dispatch", extra={"cause": str(error)})
            freed()
            await asyncio.sleep(_AGAIN_S)
        # Pause for at least as long as the dispatch took, so that dispatching never takes more than half of the time.
        await asyncio.sleep(max(_PAUSE_S, time.monotonic() - started_at))

"""Background tasks of a worker: update its registration, receive stop notices, dispatch when slots become free."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import redis.asyncio
from redis.asyncio.client import PubSub

from core import errors
from core.config.catalog import Catalog
from core.config.live_catalog import LiveCatalog
from core.dispatch.dispatcher import Dispatch
from core.notify import redis_clients
from core.notify.bus import EndNotice, parse_end_notice, stop_channel
from core.notify.redis_clients import LISTENER
from core.notify.signatures import Signatures
from core.runs.workers import Workers
from worker.liveness.connection_errors import CONNECTION_ERRORS

log = logging.getLogger(__name__)

_RETRY_INTERVAL_S = 0.5
# Minimum pause between two dispatches: one dispatch per ended response would cost more than ending the responses.
_MIN_PAUSE_S = 0.005


class Registration:
    """The worker's row in the table `workers`, from which other processes read its slots, lanes and models.

    One coroutine makes all changes, one after another: an update that is still in flight can neither undo a drain nor
    restore the row after its deletion.
    """

    def __init__(
        self,
        workers: Workers,
        worker_id: str,
        lanes: Sequence[str],
        slots: int,
        live_catalog: LiveCatalog,
        *,
        interval_s: float,
        on_updated: Callable[[Catalog], None],
    ) -> None:
        """Prepare the registration.

        Args:
            live_catalog: contains the models to publish.
            interval_s: seconds between two updates.
            on_updated: called after each successful update, with the catalog whose models were published.
        """
        self._workers = workers
        self._worker_id = worker_id
        self._lanes = lanes
        self._slots = slots
        self._live_catalog = live_catalog
        self._interval_s = interval_s
        self._on_updated = on_updated
        self._is_leaving = False
        self._has_changed = asyncio.Event()

    def drain(self) -> None:
        """Register as draining, without slots: no more responses are dispatched to this worker."""
        self._slots = 0
        self._has_changed.set()

    def update_soon(self) -> None:
        """Update the row without waiting for the interval, because the models have changed."""
        self._has_changed.set()

    def leave(self) -> None:
        """Delete the row; `keep_updated` then returns."""
        self._is_leaving = True
        self._has_changed.set()

    async def keep_updated(self) -> None:
        """Update the row every `interval_s` seconds and after each change, until `leave` is called."""
        while not self._is_leaving:
            self._has_changed.clear()
            await self._update()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_changed.wait(), self._interval_s)
        try:
            await asyncio.to_thread(self._workers.unregister, self._worker_id)
        except errors.StoreUnavailable as error:
            log.warning("cannot delete this worker's registration", extra={"cause": str(error)})

    async def _update(self) -> None:
        catalog = self._live_catalog.current
        try:
            await asyncio.to_thread(
                self._workers.register,
                self._worker_id,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                slots=self._slots,
                lanes=self._lanes,
                models=catalog.concurrency,
            )
            self._on_updated(catalog)
        except errors.StoreUnavailable as error:
            log.warning("cannot update this worker's registration", extra={"cause": str(error)})


async def receive_stop_notices(
    redis_url: str,
    worker_id: str,
    signatures: Signatures,
    handle_end: Callable[[EndNotice], None],
    *,
    answer_timeout_s: float = LISTENER.answer_timeout_s,
    retry_interval_s: float = _RETRY_INTERVAL_S,
) -> None:
    """Call `handle_end` for each response that another process ended while this worker runs it.

    A notice may be lost while Redis is unavailable: the next flush or lease renewal then detects the end.
    """
    while True:
        client = redis_clients.async_client(redis_url, replace(LISTENER, answer_timeout_s=answer_timeout_s))
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe(stop_channel(worker_id))
                async for message in _receive_until_lost(subscription, answer_timeout_s):
                    with contextlib.suppress(ValueError):  # another program may send any bytes
                        handle_end(parse_end_notice(message, signatures))
        except CONNECTION_ERRORS as error:
            log.warning("cannot receive stop notices", extra={"cause": repr(error)})
        finally:
            await client.aclose()
        await asyncio.sleep(retry_interval_s)


async def _receive_until_lost(subscription: PubSub, answer_timeout_s: float) -> AsyncIterator[bytes]:
    """Yield messages until the connection is lost; an unanswered ping means that it is lost."""
    awaits_pong = False
    while True:
        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=answer_timeout_s)
        if message is not None:
            awaits_pong = False
            if message["type"] == "message":
                yield message["data"]
        elif awaits_pong:
            raise redis.ConnectionError("ping not answered")
        else:
            await subscription.ping()
            awaits_pong = True


class FreeSlots:
    """Signals that slots became free or usable again, and collects the IDs of the responses that occupied them."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._response_ids: list[str] = []

    def signal(self, response_id: str | None = None) -> None:
        """Signal that there may be free capacity.

        Args:
            response_id: the response whose run has ended; None if there is another reason.
        """
        if response_id is not None:
            self._response_ids.append(response_id)
        self._event.set()

    async def wait(self) -> list[str]:
        """Wait for a signal; return the IDs of the responses that have freed slots since the last call."""
        await self._event.wait()
        self._event.clear()
        response_ids, self._response_ids = self._response_ids, []
        return response_ids


async def dispatch_on_free_slots(dispatch: Dispatch, free_slots: FreeSlots) -> None:
    """Dispatch waiting responses whenever slots become free."""
    while True:
        response_ids = await free_slots.wait()
        started_at = time.monotonic()
        try:
            await asyncio.to_thread(dispatch.dispatch, response_ids)
        except errors.StoreUnavailable as error:
            log.warning("cannot dispatch", extra={"cause": str(error)})
            free_slots.signal()
            await asyncio.sleep(_RETRY_INTERVAL_S)
        # Pause for at least the duration of the dispatch, so that dispatching takes at most half of the time.
        await asyncio.sleep(max(_MIN_PAUSE_S, time.monotonic() - started_at))

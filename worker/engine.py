"""The objects of a worker that live on the event loop of its pool."""

import asyncio
import faulthandler
import logging
import os
import signal
from collections.abc import Sequence

import aiohttp
import orjson
from celery.worker import state

from core import errors
from core.bootstrap import Core
from core.health import Health
from worker.consumer.pool import AioPool
from worker.fetch.client import Fetcher
from worker.fetch.documents import Documents
from worker.liveness import registration
from worker.liveness.consumer_probe import ConsumerProbe
from worker.liveness.watchdog import Watchdog
from worker.models.chat_completions.server import ChatCompletions
from worker.models.protocol import ModelServer
from worker.models.responses.server import Responses
from worker.run.inputs import Inputs
from worker.run.run_supervisor import RunSupervisor
from worker.run.runner import Runner

logger = logging.getLogger(__name__)


class Engine:
    """The objects of a worker that live on the pool's event loop."""

    def __init__(self, core: Core, worker_id: str, lanes: Sequence[str]) -> None:
        self._core = core
        self._lanes = lanes
        self._pool: AioPool | None = None
        self._worker_id = worker_id
        self._supervisor = RunSupervisor(core.attempts, core.bus, core.settings)
        self._freed = registration.Freed()
        self._servers: dict[str, ModelServer] = {}
        self._watchdog = Watchdog(worker_id, core.settings, stuck=_leave_stuck)
        self.consumer_probe = ConsumerProbe(
            core.doorbell,
            core.bus.redis_url,
            worker_id,
            deaf_after_s=core.settings.deaf_after_s,
            free=self._free,
            stalled=_ask_to_stop,
        )
        self._living: asyncio.Task[None] | None = None
        self._stamping: asyncio.Task[None] | None = None
        self.runner = Runner(
            core.attempts,
            core.catalog,
            self._servers,
            core.circuits,
            Inputs(core.attempts, Fetcher(core.settings), Documents(core.settings), core.settings),
            self._supervisor,
            core.seals,
            core.settings,
            worker_id=worker_id,
            freed=self._freed,
        )

    def health(self) -> Health:
        """Return the health of this worker. Thread-safe."""
        return self._watchdog.health(
            running=self._supervisor.running,
            tried_at=self._supervisor.tried_at,
            heard_at=self.consumer_probe.heard_at,
            stalled=self.consumer_probe.is_stalled,
        )

    def _free(self) -> bool:
        return self._pool is not None and self._pool.free and not self._watchdog.leaving

    def _seen(self) -> None:
        if self._watchdog.seen():
            self._freed()

    async def start(self, pool: AioPool) -> None:
        """Start the background tasks on the pool's event loop, which must be running."""
        self._pool = pool
        self._living = asyncio.create_task(self._live())
        self._living.add_done_callback(_leave_unless_stopped)

    async def stop(self) -> None:
        """Mark this worker as leaving and cancel its background tasks."""
        await self.leave()
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait({self._living})

    async def leave(self) -> None:
        """Mark this worker as leaving, so that no more responses are dispatched to its slots."""
        self._watchdog.leaving = True
        if self._stamping is not None:
            self._stamping.cancel()
            await asyncio.wait({self._stamping})
        try:
            await asyncio.to_thread(self._core.workers.leave, self._worker_id)
        except errors.StoreUnavailable as error:
            logger.warning("cannot mark this worker as leaving", extra={"cause": str(error)})

    def revoked(self, response_id: str) -> None:
        """Cancel a response whose task was revoked before it started: Celery would discard every message for it."""
        try:
            self._core.attempts.revoke(response_id)
        except errors.StoreUnavailable as error:
            logger.warning("cannot cancel", extra={"response": response_id, "cause": str(error)})
        # If another message for it arrives, the state in Postgres decides whether it can be claimed.
        state.revoked.discard(response_id)

    async def _live(self) -> None:
        settings = self._core.settings
        # Use each connection for one request only: a server may close an idle connection just as it is reused, and
        # then it is unknown whether the server has read the request.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector, json_serialize=lambda value: orjson.dumps(value).decode()
            ) as session,
            asyncio.TaskGroup() as living,
        ):
            self._servers["chat_completions"] = ChatCompletions(session)
            self._servers["responses"] = Responses(session)
            living.create_task(self._supervisor.run())
            living.create_task(registration.dispatch_for_ever(self._core.dispatch, self._freed))
            living.create_task(
                registration.hear_stops_for_ever(self._core.bus.redis_url, self._worker_id, self._supervisor.stop)
            )
            self._stamping = living.create_task(
                registration.stamp_for_ever(
                    self._core.workers,
                    self._worker_id,
                    self._lanes,
                    settings.worker_slots,
                    settings.renew_every_s,
                    self._seen,
                )
            )
            living.create_task(self._watchdog.beat_for_ever())
            living.create_task(self.consumer_probe.check_for_ever())


def _leave_unless_stopped(living: asyncio.Task[None]) -> None:
    """Exit to be restarted: without its background tasks, a worker would claim responses and lose their leases."""
    if not living.cancelled():
        logger.critical("background tasks stopped", exc_info=living.exception())
        os._exit(os.EX_SOFTWARE)


def _leave_stuck() -> None:
    logger.critical("event loop stuck")
    faulthandler.dump_traceback()
    os._exit(os.EX_SOFTWARE)


def _ask_to_stop() -> None:
    """Send SIGTERM to this process, as a supervisor would: running responses finish or are handed back."""
    os.kill(os.getpid(), signal.SIGTERM)

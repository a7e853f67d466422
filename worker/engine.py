"""The engine of a worker: creates its objects and runs its background tasks on the event loop of its pool."""

import asyncio
import contextlib
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
from core.config.catalog import Catalog
from core.health import Health
from worker.consumer.pool import AioPool
from worker.fetch.client import Fetcher
from worker.fetch.documents import Documents
from worker.fetch.inputs import Inputs
from worker.liveness import registration
from worker.liveness.consumer_probe import ConsumerProbe
from worker.liveness.watchdog import Watchdog
from worker.models.chat_completions.server import ChatCompletions
from worker.models.protocol import ModelServer
from worker.models.responses.server import Responses
from worker.run.run_supervisor import RunSupervisor
from worker.run.runner import Runner

logger = logging.getLogger(__name__)

# Maximum time in seconds to delete the registration at the end. A registration that remains has no slots, and expires.
_UNREGISTER_TIMEOUT_S = 4.0


class Engine:
    """Creates the objects of a worker and runs its background tasks on the pool's event loop."""

    def __init__(self, core: Core, worker_id: str, lanes: Sequence[str]) -> None:
        self._core = core
        self._pool: AioPool | None = None
        self._worker_id = worker_id
        self._supervisor = RunSupervisor(core.attempts, core.bus, core.settings)
        self._free_slots = registration.FreeSlots()
        self._servers: dict[str, ModelServer] = {}
        self._watchdog = Watchdog(worker_id, core.settings, on_stuck=_exit_when_stuck)
        self.consumer_probe = ConsumerProbe(
            core.doorbell,
            core.bus.redis_url,
            worker_id,
            stalled_after_s=core.settings.deaf_after_s,
            has_free_slot=self._has_free_slot,
            on_stalled=_request_shutdown,
        )
        self._background_task: asyncio.Task[None] | None = None
        self._registration = registration.Registration(
            core.workers,
            worker_id,
            lanes,
            core.settings.worker_slots,
            core.live_catalog,
            interval_s=core.settings.renew_every_s,
            on_updated=self._record_registration,
        )
        self._registration_task: asyncio.Task[None] | None = None
        self._published_catalog: Catalog | None = None  # the configuration whose models are in the registration
        self.runner = Runner(
            core.attempts,
            core.live_catalog,
            self._servers,
            core.circuits,
            Inputs(core.attempts, Fetcher(core.settings), Documents(core.settings), core.settings),
            self._supervisor,
            core.seals,
            core.settings,
            worker_id=worker_id,
            signal_free_slot=self._free_slots.signal,
        )

    def health(self) -> Health:
        """Return the health of this worker. Thread-safe."""
        health = self._watchdog.health(
            run_count=self._supervisor.run_count,
            last_renewal_at=self._supervisor.last_renewal_at,
            last_message_at=self.consumer_probe.last_message_at,
            is_stalled=self.consumer_probe.is_stalled,
        )
        return self._core.live_catalog.extend_health(health)

    def _has_free_slot(self) -> bool:
        return self._pool is not None and self._pool.has_free_slot and not self._watchdog.is_leaving

    def _record_registration(self, published_catalog: Catalog) -> None:
        self._watchdog.record_registration()
        if published_catalog is not self._published_catalog:
            # Responses whose models this worker did not know until now may be waiting.
            self._published_catalog = published_catalog
            self._free_slots.signal()

    def publish_models(self, _: Catalog) -> None:
        """Publish the models of the new configuration, then dispatch waiting responses. Thread-safe."""
        if self._pool is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, because the worker stops
                self._pool.loop.call_soon_threadsafe(self._registration.update_soon)

    async def start(self, pool: AioPool) -> None:
        """Start the background tasks on the pool's event loop, which must be running."""
        self._pool = pool
        self._background_task = asyncio.create_task(self._run_background_tasks())
        self._background_task.add_done_callback(_exit_unless_cancelled)

    async def stop(self) -> None:
        """Delete this worker's registration and cancel its background tasks."""
        self.drain()
        self._registration.leave()
        if self._registration_task is not None:
            await asyncio.wait({self._registration_task}, timeout=_UNREGISTER_TIMEOUT_S)
        if self._background_task is not None:
            self._background_task.cancel()
            await asyncio.wait({self._background_task})

    def drain(self) -> None:
        """Register this worker as draining, so that no more responses are dispatched to its slots."""
        self._watchdog.is_leaving = True
        self._registration.drain()

    def cancel_revoked(self, response_id: str) -> None:
        """Cancel a response after its task was revoked, because Celery would discard every later message for it."""
        try:
            self._core.attempts.revoke(response_id)
        except errors.StoreUnavailable as error:
            logger.warning("cannot cancel", extra={"response": response_id, "cause": str(error)})
        # Postgres decides whether a later message can claim the response, so Celery need not remember the revocation.
        state.revoked.discard(response_id)

    async def _run_background_tasks(self) -> None:
        # Use each connection for one request only: a server may close an idle connection just as the worker reuses it,
        # and then the worker cannot know whether the server has read the request.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                # Cookies of a model server would connect the requests of different projects.
                cookie_jar=aiohttp.DummyCookieJar(),
                json_serialize=lambda value: orjson.dumps(value).decode(),
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            self._servers["chat_completions"] = ChatCompletions(session)
            self._servers["responses"] = Responses(session)
            tasks.create_task(self._supervisor.run())
            tasks.create_task(registration.dispatch_on_free_slots(self._core.dispatch, self._free_slots))
            tasks.create_task(
                registration.receive_stop_notices(
                    self._core.bus.redis_url, self._worker_id, self._core.bus.signatures, self._supervisor.handle_end
                )
            )
            self._registration_task = tasks.create_task(self._registration.keep_updated())
            tasks.create_task(self._watchdog.record_heartbeats())
            tasks.create_task(self.consumer_probe.monitor_consumer())


def _exit_unless_cancelled(background_task: asyncio.Task[None]) -> None:
    """Exit, because a worker without background tasks would claim responses and then lose their leases."""
    if not background_task.cancelled():
        logger.critical("background tasks stopped", exc_info=background_task.exception())
        os._exit(os.EX_SOFTWARE)


def _exit_when_stuck() -> None:
    logger.critical("event loop stuck")
    faulthandler.dump_traceback()
    os._exit(os.EX_SOFTWARE)


def _request_shutdown() -> None:
    """Send SIGTERM to this process, so that running responses finish or are handed back."""
    os.kill(os.getpid(), signal.SIGTERM)

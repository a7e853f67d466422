"""Runs a response: claims it, calls the model server, writes its events, and ends it. Independent of Celery."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

from core import errors, jsonio
from core.circuits.circuits import Circuits
from core.codes import Code
from core.config.catalog import Catalog
from core.runs.attempts import Attempt, Attempts, Batch, HandBack
from core.runs.ends import Outcome, cancelled, failed
from core.settings import Settings
from core.tenants.seals import Seals
from core.wire import response, transcript
from worker.async_batcher import AsyncBatcher
from worker.models.client import ModelClient, log_fields
from worker.models.protocol import ModelServer
from worker.run import resume
from worker.run.inputs import Inputs
from worker.run.output import OutputWriter
from worker.run.run import SHUTDOWN, Run
from worker.run.run_supervisor import RunSupervisor

log = logging.getLogger(__name__)
T = TypeVar("T")

_AGAIN_S = 0.2
# Maximum numbers per transaction: each response may be large, and the statement timeout is five seconds.
_CLAIMS = 16
_ENDS = 32

_End = tuple[Attempt, Outcome, Batch]


def _fence(end: _End) -> Hashable:
    return end[0].response_id, end[0].number


class Claimed(NamedTuple):
    """An attempt, and the time (monotonic clock) when its claim was sent: the lease starts no earlier than that."""

    attempt: Attempt
    claimed_at: float


class Runner:
    """Runs responses, each in its own coroutine."""

    def __init__(
        self,
        attempts: Attempts,
        catalog: Catalog,
        servers: Mapping[str, ModelServer],
        circuits: Circuits,
        inputs: Inputs,
        supervisor: RunSupervisor,
        seals: Seals,
        settings: Settings,
        *,
        worker_id: str,
        freed: Callable[..., None],
    ) -> None:
        self._attempts = attempts
        self._catalog = catalog
        self._inputs = inputs
        self._supervisor = supervisor
        self._seals = seals
        self._settings = settings
        self._worker_id = worker_id
        self._freed = freed
        self._io = ThreadPoolExecutor(settings.worker_connections - 1, thread_name_prefix="runner-io")
        self._claims = AsyncBatcher(self._claim_batch, key=str, executor=self._io, most=_CLAIMS)
        self._ends = AsyncBatcher(self._end_batch, key=_fence, executor=self._io, most=_ENDS)
        self._client = ModelClient(
            servers, catalog, circuits, settings, call=self._call, freed=freed, note_dropped=attempts.note_dropped
        )

    async def run(self, response_id: str) -> str:
        """Run a dispatched response, if it can be claimed; return the result as text for Flower.

        Cancelling this coroutine interrupts only the call of the model server: the response is then handed back or
        ended, and its output is written.
        """
        interruption = Interruption()
        task = asyncio.ensure_future(self._run(response_id, interruption))
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.done():
                    raise
                interruption.interrupt(str(error))

    async def _run(self, response_id: str, interruption: "Interruption") -> str:
        try:
            claimed = await self._claims.ask(response_id) or await self._call(lambda: self._claim(response_id))
        except errors.StoreUnavailable as error:
            log.warning("cannot claim", extra={"response": response_id, "cause": str(error)})
            return "not claimed: Postgres is unavailable"
        if claimed is None:
            return "not claimed: already claimed, ended or not due"
        attempt, claimed_at = claimed
        log.info("claimed", extra=log_fields(attempt))
        try:
            with self._supervisor.keeping(attempt, claimed_at) as run:
                return await self._go(run, interruption)
        finally:
            self._freed(response_id)

    def _claim(self, response_id: str) -> Claimed | None:
        asked_at = time.monotonic()
        attempt = self._attempts.claim(response_id, self._worker_id)
        return None if attempt is None else Claimed(attempt, asked_at)

    def _claim_batch(self, response_ids: Sequence[str]) -> dict[Hashable, Claimed]:
        asked_at = time.monotonic()
        attempts = self._attempts.claim_batch(response_ids, self._worker_id)
        return {response_id: Claimed(attempt, asked_at) for response_id, attempt in attempts.items()}

    def _end_batch(self, ends: Sequence[_End]) -> dict[Hashable, bool]:
        return dict.fromkeys(self._attempts.end_batch(ends), True)

    async def _go(self, run: Run, interruption: "Interruption") -> str:
        answer = OutputWriter(run, self._seals)
        work = asyncio.create_task(self._work(run, answer))
        run.on_stop = work.cancel
        interruption.on_interrupt(work.cancel)
        await asyncio.wait({work})
        if run.stopped is not None:
            await self._note(run, answer)
            return f"stopped: {run.stopped}"
        if work.cancelled():
            return await self._settle(run, self._interrupted(run, answer, interruption.why), answer)
        return await self._settle(run, work.result(), answer)

    async def _work(self, run: Run, answer: OutputWriter) -> Outcome | HandBack:
        attempt = run.attempt
        model = self._catalog.models.get(attempt.model)
        if model is None:
            return failed(Code.SERVER_ERROR, f"The model '{attempt.model}' is no longer configured.")
        plan = resume.plan(attempt, model)
        if isinstance(plan, Outcome):
            return plan
        if not attempt.announced:
            running = response.running(jsonio.loads(attempt.document), [])
            run.begin(transcript.lifecycle(running))
        answer.go_on(plan)
        try:
            async with asyncio.timeout(attempt.left_s) as clock:
                prepared = await self._inputs.prepare(plan.attempt, model)
                return await self._client.ask(prepared, model, answer)
        except errors.Refused as error:  # an image or a file of the request
            # The message contains a client's URL or file name, which must not get into the log.
            code = error.code or Code.SERVER_ERROR
            return failed(code, str(error), cause=f"an image or a file of the input: {code}")
        except TimeoutError:
            if not clock.expired():
                raise
            return failed(Code.SERVER_ERROR, "The response did not end within the time a run may take.")
        except Exception:  # a bug must end the response now, not when its lease expires
            log.exception("run failed", extra=log_fields(attempt))
            return failed(Code.SERVER_ERROR, "The server had an error while running this response.")

    async def _settle(self, run: Run, end: Outcome | HandBack, answer: OutputWriter) -> str:
        """Write the end of the run, retrying while the attempt may hold the lease; return the result as text."""
        attempt = run.attempt
        if isinstance(end, Outcome) and end.spent is None:
            end = replace(end, spent=answer.spent())
        tail = await self._supervisor.tail(run)
        while run.stopped is None:
            try:
                written = await self._write_end(run, end, tail)
            except errors.StoreUnavailable as error:
                log.warning("cannot end", extra={**log_fields(attempt), "cause": str(error)})
                await asyncio.sleep(_AGAIN_S)
            except Exception:  # the response must end even if this outcome cannot be written
                log.exception("cannot write the outcome", extra=log_fields(attempt))
                if end is _UNWRITABLE:
                    break
                end, tail = _UNWRITABLE, replace(tail, lines=())
            else:
                if written:
                    return f"handed back: {end.cause}" if isinstance(end, HandBack) else str(end.status)
                break
        await self._note(run, answer)
        return f"stopped: {run.stopped or 'ended by another process'}"

    async def _write_end(self, run: Run, end: Outcome | HandBack, tail: Batch) -> bool:
        attempt = run.attempt
        if isinstance(end, Outcome):
            if not run.large and await self._ends.ask((attempt, end, tail)):
                return True
            return await self._call(lambda: self._attempts.end(attempt, end, tail))
        # Drop the tail: the next attempt continues from the committed events, and no client has seen the tail.
        given = await self._call(lambda: self._attempts.hand_back(attempt, end))
        if given:
            log.info("handed back", extra={**log_fields(attempt), "cause": end.cause, "delay_s": round(end.delay_s, 1)})
        return given

    def _interrupted(self, run: Run, answer: OutputWriter, why: str) -> Outcome | HandBack:
        if why != SHUTDOWN:
            return cancelled("revoked through Celery")
        model = self._catalog.models.get(run.attempt.model)
        if (answer.grown or run.attempt.shown) and model is not None and model.on_worker_lost == "fail":
            return failed(
                Code.SERVER_ERROR, "The worker running this response was shut down after output had been shown."
            )
        return HandBack("The worker was shut down.")

    async def _note(self, run: Run, answer: OutputWriter) -> None:
        """Record the usage of the attempt in its history."""
        try:
            await self._call(lambda: self._attempts.note_usage(run.attempt, answer.spent()))
        except errors.Error as error:
            log.warning("cannot record usage", extra={**log_fields(run.attempt), "cause": str(error)})

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._io, call)


class Interruption:
    """The reason why a run's coroutine was cancelled, and the function that cancels the call of the model server."""

    def __init__(self) -> None:
        self.why = ""
        self._cancel: Callable[[], object] | None = None

    def interrupt(self, why: str) -> None:
        """Cancel the call now, or as soon as there is one."""
        self.why = why
        if self._cancel is not None:
            self._cancel()

    def on_interrupt(self, cancel: Callable[[], object]) -> None:
        """Set the function that cancels the call; it runs at once if the run is already interrupted."""
        self._cancel = cancel
        if self.why:
            cancel()


_UNWRITABLE = failed(Code.SERVER_ERROR, "The server had an error while ending this response.")

"""Runs responses without dependence on Celery: claims them, calls model servers, and writes their events and ends."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

from core import errors, jsonio
from core.circuits.circuits import Circuits
from core.codes import Code
from core.config.live_catalog import LiveCatalog
from core.runs.attempt import Attempt, HandBack
from core.runs.attempts import Attempts, Batch
from core.runs.ends import Outcome, cancelled_outcome, failed_outcome
from core.settings import Settings
from core.tenants.seals import Seals
from core.wire import response, transcript
from worker.async_batcher import AsyncBatcher
from worker.fetch.inputs import Inputs
from worker.models.client import ModelClient, log_fields
from worker.models.protocol import ModelServer
from worker.run import resume
from worker.run.output import OutputWriter
from worker.run.run import SHUTDOWN, Run
from worker.run.run_supervisor import RunSupervisor
from worker.served_models import ServedModel, ServedModels

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

_RETRY_INTERVAL_S = 0.2
# Maximum numbers of claims and of ends per transaction. Each response may be large, and the statement timeout is five
# seconds.
_MAX_CLAIMS = 16
_MAX_ENDS = 32
# A response whose model no worker knows is dispatched again after at most 2^8 seconds.
_MAX_UNKNOWN_MODEL_DOUBLINGS = 8
# The outcome of a response whose actual end could not be written because of a bug.
_FALLBACK_OUTCOME = failed_outcome(Code.SERVER_ERROR, "The server had an error while ending this response.")

_EndRequest = tuple[Attempt, Outcome, Batch]


def _fence(end_request: _EndRequest) -> Hashable:
    attempt, _, _ = end_request
    return attempt.response_id, attempt.number


class Claim(NamedTuple):
    """An attempt and the time (monotonic clock) when its claim was sent; its lease starts at that time or later."""

    attempt: Attempt
    claimed_at: float


class Runner:
    """Runs responses, each in its own coroutine."""

    def __init__(
        self,
        attempts: Attempts,
        live_catalog: LiveCatalog,
        servers: Mapping[str, ModelServer],
        circuits: Circuits,
        inputs: Inputs,
        supervisor: RunSupervisor,
        seals: Seals,
        settings: Settings,
        *,
        worker_id: str,
        signal_free_slot: Callable[..., None],
    ) -> None:
        self._attempts = attempts
        self._models = ServedModels(live_catalog)
        self._inputs = inputs
        self._supervisor = supervisor
        self._seals = seals
        self._settings = settings
        self._worker_id = worker_id
        self._signal_free_slot = signal_free_slot
        self._io = ThreadPoolExecutor(settings.worker_connections - 1, thread_name_prefix="runner-io")
        self._claim_batcher = AsyncBatcher(self._claim_batch, key=str, executor=self._io, max_requests=_MAX_CLAIMS)
        self._end_batcher = AsyncBatcher(self._end_batch, key=_fence, executor=self._io, max_requests=_MAX_ENDS)
        self._client = ModelClient(
            servers,
            circuits,
            settings,
            run_blocking=self._run_in_thread,
            signal_free_slot=signal_free_slot,
            record_dropped_items=attempts.record_dropped_items,
        )

    async def run(self, response_id: str) -> str:
        """Run a dispatched response, if it can be claimed; return the result as text for Flower.

        If this coroutine is cancelled, only the work on the outcome is interrupted, such as the call to the model
        server: the response is still handed back or ended, and the result is returned. The message of the cancellation
        is its reason, `SHUTDOWN` or `REVOKED`.
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
            claim = await self._claim_batcher.submit(response_id)
            if claim is None:  # the batch skips locked rows
                claim = await self._run_in_thread(lambda: self._claim(response_id))
        except errors.StoreUnavailable as error:
            log.warning("cannot claim", extra={"response": response_id, "cause": str(error)})
            return "not claimed: Postgres is unavailable"
        if claim is None:
            return "not claimed: another worker claimed it, it has ended, or it must not run now"
        attempt, claimed_at = claim
        log.info("claimed", extra=log_fields(attempt))
        try:
            with self._supervisor.supervised_run(attempt, claimed_at) as run:
                return await self._execute_run(run, interruption)
        finally:
            self._signal_free_slot(response_id)

    def _claim(self, response_id: str) -> Claim | None:
        requested_at = time.monotonic()
        attempt = self._attempts.claim(response_id, self._worker_id)
        return None if attempt is None else Claim(attempt, requested_at)

    def _claim_batch(self, response_ids: Sequence[str]) -> dict[Hashable, Claim]:
        requested_at = time.monotonic()
        attempts = self._attempts.claim_batch(response_ids, self._worker_id)
        return {response_id: Claim(attempt, requested_at) for response_id, attempt in attempts.items()}

    def _end_batch(self, end_requests: Sequence[_EndRequest]) -> dict[Hashable, bool]:
        return dict.fromkeys(self._attempts.end_batch(end_requests), True)

    async def _execute_run(self, run: Run, interruption: "Interruption") -> str:
        model = self._models.find_model(run.attempt.model)
        writer = OutputWriter(
            run,
            self._seals,
            limit_bytes=self._settings.output_limit_bytes,
            context_window=None if model is None else model.config.context_window,
        )
        task = asyncio.create_task(self._produce_end(run, model, writer))
        run.on_stop = task.cancel
        interruption.on_interrupt(task.cancel)
        await asyncio.wait({task})
        if run.stop_reason is not None:
            await self._record_usage(run, writer)
            return f"stopped: {run.stop_reason}"
        if task.cancelled():
            return await self._write_end(run, self._interruption_end(run, model, writer, interruption.reason), writer)
        return await self._write_end(run, task.result(), writer)

    async def _produce_end(self, run: Run, model: ServedModel | None, writer: OutputWriter) -> Outcome | HandBack:
        attempt = run.attempt
        if model is None:
            return _unknown_model_hand_back(attempt)
        if not attempt.has_in_progress_event:
            document = response.running_document(jsonio.loads(attempt.document), [])
            run.add_running_event(transcript.lifecycle(document))
        try:
            async with asyncio.timeout(attempt.remaining_s) as timeout:
                plan = resume.plan_attempt(await self._inputs.load_large_fields(attempt), model.config)
                if isinstance(plan, Outcome):
                    return plan
                writer.continue_from(plan)
                prepared_attempt = await self._inputs.prepare(plan.attempt, model.config)
                return await self._client.request_outcome(prepared_attempt, model, writer)
        except errors.PermanentError as error:  # an image or a file of the request cannot be loaded or read
            # The message contains a URL or a file name of the client, which must not be logged.
            code = error.code or Code.SERVER_ERROR
            return failed_outcome(code, str(error), cause=f"unusable image or file in the input: {code}")
        except TimeoutError:
            if not timeout.expired():
                raise
            return failed_outcome(Code.SERVER_ERROR, "The response did not end within the time a run may take.")
        except Exception:  # after a bug, end the response now instead of when its lease expires
            log.exception("run failed", extra=log_fields(attempt))
            return failed_outcome(Code.SERVER_ERROR, "The server had an error while running this response.")

    async def _write_end(self, run: Run, end: Outcome | HandBack, writer: OutputWriter) -> str:
        """Write the end or the hand-back of a run, with retries until the run is stopped; return the result as text."""
        attempt = run.attempt
        if isinstance(end, Outcome) and end.attempt_usage is None:
            end = replace(end, attempt_usage=writer.attempt_usage())
        last_batch = await self._supervisor.take_last_batch(run)
        while run.stop_reason is None:
            try:
                is_written = await self._try_write_end(run, end, last_batch)
            except errors.StoreUnavailable as error:
                log.warning("cannot end", extra={**log_fields(attempt), "cause": str(error)})
                await asyncio.sleep(_RETRY_INTERVAL_S)
            except Exception:  # a bug must not leave the response without an end
                log.exception("cannot write the end", extra=log_fields(attempt))
                if end is _FALLBACK_OUTCOME:
                    await self._record_usage(run, writer)
                    return "failed: the end could not be written"
                end, last_batch = _FALLBACK_OUTCOME, replace(last_batch, lines=())
            else:
                if is_written:
                    return f"handed back: {end.cause}" if isinstance(end, HandBack) else str(end.status)
                break
        await self._record_usage(run, writer)
        return f"stopped: {run.stop_reason or 'ended by another process'}"

    async def _try_write_end(self, run: Run, end: Outcome | HandBack, last_batch: Batch) -> bool:
        attempt = run.attempt
        if isinstance(end, Outcome):
            if not run.is_large and await self._end_batcher.submit((attempt, end, last_batch)):
                return True
            return await self._run_in_thread(lambda: self._attempts.end(attempt, end, last_batch))
        # Drop the last batch: no client has received it, and the next attempt continues from the committed events.
        is_handed_back = await self._run_in_thread(lambda: self._attempts.hand_back(attempt, end))
        if is_handed_back:
            log.info("handed back", extra={**log_fields(attempt), "cause": end.cause, "delay_s": round(end.delay_s, 1)})
        return is_handed_back

    def _interruption_end(
        self, run: Run, model: ServedModel | None, writer: OutputWriter, reason: str
    ) -> Outcome | HandBack:
        if reason != SHUTDOWN:
            return cancelled_outcome("revoked through Celery")
        has_output = writer.has_output or run.attempt.has_output
        if has_output and model is not None and model.config.on_worker_lost == "fail":
            return failed_outcome(
                Code.SERVER_ERROR, "The worker running this response was shut down after output had been shown."
            )
        return HandBack("The worker was shut down.")

    async def _record_usage(self, run: Run, writer: OutputWriter) -> None:
        """Record the usage of a stopped run in the row of its attempt."""
        try:
            await self._run_in_thread(lambda: self._attempts.record_usage(run.attempt, writer.attempt_usage()))
        except errors.Error as error:
            log.warning("cannot record usage", extra={**log_fields(run.attempt), "cause": str(error)})

    async def _run_in_thread(self, function: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._io, function)


def _unknown_model_hand_back(attempt: Attempt) -> HandBack:
    """Return a hand-back for a response whose model this worker does not know.

    The configuration of the worker is older or newer than that of the API. The response runs on a worker that knows the
    model, or ends at its deadline.
    """
    max_delay_s = 2 ** min(attempt.wait_count, _MAX_UNKNOWN_MODEL_DOUBLINGS)
    return HandBack(
        f"The model '{attempt.model}' is not in the configuration of the worker that received the response.",
        awaits_server=True,
        delay_s=max_delay_s * random.uniform(0.5, 1),  # noqa: S311  # jitter
    )


class Interruption:
    """Interrupts a run, even if the interruption is requested before the work has started.

    Attributes:
        reason: `SHUTDOWN` or `REVOKED`; empty until the run is interrupted.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._cancel_work: Callable[[], object] | None = None

    def interrupt(self, reason: str) -> None:
        """Cancel the work on the outcome now, or as soon as it starts."""
        self.reason = reason
        if self._cancel_work is not None:
            self._cancel_work()

    def on_interrupt(self, cancel_work: Callable[[], object]) -> None:
        """Set the function that cancels the work; call it immediately if the run is already interrupted."""
        self._cancel_work = cancel_work
        if self.reason:
            cancel_work()

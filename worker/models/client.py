"""Calls the servers of a model: chooses an endpoint, retries, waits, and converts failures to an outcome."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol, TypeVar

from core import errors
from core.circuits.circuits import Circuits
from core.codes import Code
from core.config.catalog import ModelConfig
from core.runs.attempt import Attempt, HandBack
from core.runs.ends import Outcome, failed_outcome
from core.settings import Settings
from worker.models.continuation import ContinuationProbe
from worker.models.endpoints import Endpoint, Endpoints, Request, retry_after_s
from worker.models.protocol import ModelServer
from worker.models.tokenizers import Tokenizers
from worker.run.output import OutputWriter
from worker.run.resume import continuation_failure
from worker.run.trim import ContextTrimmer
from worker.served_models import ServedModel

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

_MAX_TRIES = 3  # maximum number of requests of an attempt that fail before any output
_FIRST_PAUSE_S = 0.25
_MAX_BACKOFF_DOUBLINGS = 6


class BlockingCaller(Protocol):
    """Runs a blocking call outside the event loop."""

    async def __call__(self, function: Callable[[], ResultT]) -> ResultT: ...


class ModelClient:
    """Sends the requests of this process to model servers, each to one endpoint at a time until one returns output.

    If an endpoint fails before any output, the request goes to the next best endpoint immediately, and to the failed
    endpoint again after a pause. If all endpoints are busy or unavailable for longer than `wait_in_slot_s`, the
    response is handed back to wait in Postgres. The model's circuit opens unless only this response is affected.

    Args:
        record_dropped_items: records, for operators, the IDs of the items that were dropped from an attempt's context.
    """

    def __init__(
        self,
        servers: Mapping[str, ModelServer],
        circuits: Circuits,
        settings: Settings,
        *,
        run_blocking: BlockingCaller,
        signal_free_slot: Callable[[], None],
        record_dropped_items: Callable[[Attempt, list[str]], None],
    ) -> None:
        self._servers = servers
        self._circuits = circuits
        self._settings = settings
        self._run_blocking = run_blocking
        self._signal_free_slot = signal_free_slot
        self._record_dropped_items = record_dropped_items
        self._tokenizers = Tokenizers()
        self._continuation_probe = ContinuationProbe(servers)

    async def request_outcome(self, attempt: Attempt, model: ServedModel, writer: OutputWriter) -> Outcome | HandBack:
        """Run the request of an attempt; return the outcome, or a hand-back if no model server can accept it now."""
        config, endpoints = model.config, model.endpoints
        endpoints.has_open_circuit |= attempt.probe
        budget = _RetryBudget(attempt, self._settings.wait_in_slot_s)
        trimmer = ContextTrimmer(attempt, config, self._tokenizers)
        while True:
            if not attempt.probe and endpoints.has_given_up_since(budget.started_at):
                return self._hand_back(attempt, endpoints, budget)
            endpoint = endpoints.choose_endpoint(budget.not_before, include_all=attempt.probe)
            if endpoint is None:
                available_at = endpoints.available_at(budget.not_before, include_all=attempt.probe)
                if available_at > budget.deadline:
                    return self._hand_back(attempt, endpoints, budget)
                await endpoints.wait_until(available_at)
                continue
            try:
                await self._read_answer(attempt, config, endpoints, endpoint, writer)
                return writer.outcome()
            except errors.ModelServerError as error:
                if await self._shorten_context(trimmer, error, endpoint, writer):
                    attempt = trimmer.attempt
                    continue
                budget.record_failure(endpoint, error)
                self._continuation_probe.forget(endpoint.base_url)
                if attempt.prefix and not writer.has_output and error.code == Code.INVALID_PROMPT:
                    return continuation_failure(str(error))
                if writer.has_output or isinstance(error, errors.PermanentError) or budget.tries >= _MAX_TRIES:
                    if attempt.probe and isinstance(error, errors.TransientError | errors.AnswerTimeout):
                        await self._update_circuit(partial(self._record_probe_failure, attempt, error))
                    return failed_outcome(Code(error.code or Code.SERVER_ERROR), str(error), kind=error.kind)
                log.info(
                    "model server not ready",
                    extra={**log_fields(attempt), "endpoint": endpoint.name, "cause": str(error)},
                )

    async def _shorten_context(
        self, trimmer: ContextTrimmer, error: errors.ModelServerError, endpoint: Endpoint, writer: OutputWriter
    ) -> bool:
        """Shorten the context if it is too long according to the error; return whether to send the request again."""
        if not isinstance(error, errors.ContextExceeded) or writer.has_output:
            return False
        dropped_ids = await trimmer.trim_context(error, endpoint.base_url)
        if dropped_ids is None:
            return False
        attempt = trimmer.attempt
        writer.set_attempt(attempt)
        log.info("dropped the oldest turns", extra={**log_fields(attempt), "items": len(dropped_ids)})
        try:
            await self._run_blocking(partial(self._record_dropped_items, attempt, dropped_ids))
        except errors.StoreUnavailable as store_error:
            log.warning("cannot record the dropped items", extra={**log_fields(attempt), "cause": str(store_error)})
        return True

    async def _read_answer(
        self, attempt: Attempt, model: ModelConfig, endpoints: Endpoints, endpoint: Endpoint, writer: OutputWriter
    ) -> None:
        """Send the request to an endpoint and read the answer to its end; update the state of the endpoint."""
        if attempt.prefix and not await self._continuation_probe.continues_text(attempt, model, endpoint.base_url):
            raise errors.PermanentError("The model server starts a new answer.", code=Code.INVALID_PROMPT)
        writer.prepare_request()
        stream = self._servers[model.api].stream(model, attempt, endpoint.base_url)
        with endpoint.request(attempt.response_id) as request:
            try:
                async with aclosing(stream):
                    async for output in stream:
                        if not request.is_accepted:
                            await self._record_acceptance(request, endpoints, attempt)
                        writer.add(output)
                        if writer.is_full:
                            break  # closing the stream closes the connection, so that the model server stops
            except errors.ModelServerError as error:
                if not isinstance(error, errors.PermanentError) or isinstance(error, errors.AnswerTimeout):
                    request.record_failure(error)
                elif not request.is_accepted:
                    await self._record_acceptance(request, endpoints, attempt)  # the endpoint rejects only this request
                raise

    async def _record_acceptance(self, request: Request, endpoints: Endpoints, attempt: Attempt) -> None:
        request.record_acceptance()
        endpoints.signal_acceptance()
        if endpoints.has_open_circuit:
            endpoints.has_open_circuit = not await self._update_circuit(lambda: self._circuits.close(attempt.model))
            self._signal_free_slot()  # responses that waited for the circuit may now be dispatched

    def _record_probe_failure(self, attempt: Attempt, error: errors.ModelServerError) -> None:
        self._circuits.reopen(attempt.model, attempt.response_id, str(error), error.code)

    async def _update_circuit(self, update: Callable[[], object]) -> bool:
        """Update the circuit in Postgres; return whether that succeeded. If not, the next probe updates the circuit."""
        try:
            await self._run_blocking(update)
        except errors.StoreUnavailable as error:
            log.warning("cannot update the circuit", extra={"cause": str(error)})
            return False
        return True

    def _hand_back(self, attempt: Attempt, endpoints: Endpoints, budget: "_RetryBudget") -> HandBack:
        error = budget.error or endpoints.error
        has_given_up = endpoints.has_given_up_since(budget.started_at)
        is_unavailable = attempt.probe or has_given_up or endpoints.is_down_since(budget.started_at)
        if is_unavailable and not has_given_up:
            endpoints.give_up()
        backoff_s = min(self._settings.wait_between_s, 2 ** min(attempt.wait_count, _MAX_BACKOFF_DOUBLINGS))
        requested_backoff_s = endpoints.requested_backoff_s(budget.retry_after_until)
        return HandBack(
            str(error),
            awaits_server=True,
            delay_s=max(backoff_s * random.uniform(0.5, 1), requested_backoff_s),  # noqa: S311  # jitter
            error_code=error.code,
            unavailable=is_unavailable,
            requested_delay_s=requested_backoff_s,
        )


class _RetryBudget:
    """The failures of one attempt, and the limits of its retries."""

    def __init__(self, attempt: Attempt, wait_in_slot_s: float) -> None:
        self._attempt = attempt
        self._wait_in_slot_s = wait_in_slot_s
        self._failure_counts: Counter[Endpoint] = Counter()
        self.started_at = time.monotonic()
        self._waiting_since = self.started_at
        self.tries = 0
        self.error: errors.ModelServerError | None = None  # the last error
        # For each failed endpoint (monotonic clock): the time from which this attempt may use the endpoint again, and
        # the end of the backoff that the endpoint requested.
        self.not_before: dict[Endpoint, float] = {}
        self.retry_after_until: dict[Endpoint, float] = {}

    @property
    def deadline(self) -> float:
        """Time (monotonic clock) at which waiting ends. A probe does not wait, because it blocks all other dispatch."""
        if self._attempt.probe and not isinstance(self.error, errors.TransientError):
            return self.started_at
        return self._waiting_since + self._wait_in_slot_s

    def record_failure(self, endpoint: Endpoint, error: errors.ModelServerError) -> None:
        """Record a failure of an endpoint."""
        now = time.monotonic()
        pause_s = _FIRST_PAUSE_S * 2 ** self._failure_counts[endpoint]
        self._failure_counts[endpoint] += 1
        if isinstance(error, errors.TransientError):
            # All tries must be made in this attempt, because a hand-back would restart their count. Therefore the time
            # until a server fails does not count as waiting time.
            self.tries += 1
            self._waiting_since = now
        self.error = error
        self.retry_after_until[endpoint] = now + retry_after_s(error)
        self.not_before[endpoint] = max(now + pause_s, self.retry_after_until[endpoint])


def log_fields(attempt: Attempt) -> dict[str, object]:
    """Return the fields that identify an attempt in log lines."""
    return {"response": attempt.response_id, "attempt": attempt.number}

"""Calls the servers of a model: chooses an endpoint, retries, waits, and turns failures into an outcome."""

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
from core.config.catalog import Catalog, ModelConfig
from core.runs.attempts import Attempt, HandBack
from core.runs.ends import Outcome, failed
from core.settings import Settings
from worker.models.endpoints import Endpoint, Endpoints, Request, retry_after_s
from worker.models.protocol import ModelServer
from worker.models.tokenizers import Tokenizers
from worker.run.output import OutputWriter
from worker.run.resume import not_continued
from worker.run.trim import ContextTrimmer

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 3  # attempts at a request, if model servers fail before any output
_FIRST_PAUSE_S = 0.25


class Calls(Protocol):
    """Runs a blocking call outside the event loop."""

    async def __call__(self, call: Callable[[], T]) -> T: ...


class ModelClient:
    """Calls model servers for this process: sends each request to one endpoint at a time, until one returns output.

    If an endpoint fails before any output, the request goes to the next best endpoint at once, and to the failed one
    again after a pause. If all endpoints are busy or unavailable for longer than `wait_in_slot_s`, the response is
    handed back to wait in Postgres; if the failures do not concern this response alone, the model's circuit opens.

    Args:
        note_dropped: records for operators which items of its context an attempt's model is not shown.
    """

    def __init__(
        self,
        servers: Mapping[str, ModelServer],
        catalog: Catalog,
        circuits: Circuits,
        settings: Settings,
        *,
        call: Calls,
        freed: Callable[[], None],
        note_dropped: Callable[[Attempt, list[str]], None],
    ) -> None:
        self._servers = servers
        self._circuits = circuits
        self._settings = settings
        self._call = call
        self._freed = freed
        self._note_dropped = note_dropped
        self._tokenizers = Tokenizers()
        self._endpoints = {name: Endpoints(model.endpoints) for name, model in catalog.models.items()}

    async def ask(self, attempt: Attempt, model: ModelConfig, answer: OutputWriter) -> Outcome | HandBack:
        """Run the request of an attempt; return the outcome, or a hand-back if no model server can take it now."""
        endpoints = self._endpoints[attempt.model]
        endpoints.circuit_seen |= attempt.probe
        budget = _RetryBudget(attempt, self._settings.wait_in_slot_s)
        trimmer = ContextTrimmer(attempt, model, self._tokenizers)
        while True:
            if not attempt.probe and endpoints.given_up_since(budget.began_at):
                return self._hand_back(attempt, endpoints, budget)
            endpoint = endpoints.choose(budget.not_before, all_open=attempt.probe)
            if endpoint is None:
                opens_at = endpoints.opens_at(budget.not_before, all_open=attempt.probe)
                if opens_at > budget.ends_at:
                    return self._hand_back(attempt, endpoints, budget)
                await endpoints.rest(opens_at)
                continue
            try:
                await self._read(attempt, model, endpoints, endpoint, answer)
                return answer.outcome()
            except errors.ModelServerFailed as error:
                if await self._shorten(trimmer, error, endpoint, answer):
                    attempt = trimmer.attempt
                    continue
                budget.lose(endpoint, error)
                if attempt.prefix and not answer.grown and error.code == Code.INVALID_PROMPT:
                    return not_continued(str(error))
                if answer.grown or isinstance(error, errors.Refused) or budget.tries >= TRIES:
                    if attempt.probe and isinstance(error, errors.Erred | errors.Silent):
                        await self._tell(partial(self._probe_failed, attempt, error))
                    return failed(Code(error.code or Code.SERVER_ERROR), str(error), kind=error.kind)
                log.info(
                    "model server not ready",
                    extra={**log_fields(attempt), "endpoint": endpoint.name, "cause": str(error)},
                )

    async def _shorten(
        self, trimmer: ContextTrimmer, error: errors.ModelServerFailed, endpoint: Endpoint, answer: OutputWriter
    ) -> bool:
        """Shorten the context if `error` says that it is too long; return whether the request can be sent again."""
        if not isinstance(error, errors.ContextExceeded) or answer.grown:
            return False
        dropped = await trimmer.shorten(error, endpoint.base_url)
        if dropped is None:
            return False
        attempt = trimmer.attempt
        answer.shorten(attempt)
        log.info("dropped the oldest turns", extra={**log_fields(attempt), "items": len(dropped)})
        try:
            await self._call(partial(self._note_dropped, attempt, dropped))
        except errors.StoreUnavailable as unavailable:
            log.warning("cannot record the dropped items", extra={**log_fields(attempt), "cause": str(unavailable)})
        return True

    async def _read(
        self, attempt: Attempt, model: ModelConfig, endpoints: Endpoints, endpoint: Endpoint, answer: OutputWriter
    ) -> None:
        """Read the answer of an endpoint to its end, and update the state of the endpoint from it."""
        answer.begin()
        stream = self._servers[model.api].stream(model, attempt, endpoint.base_url)
        with endpoint.request(attempt.response_id) as request:
            try:
                async with aclosing(stream):
                    async for output in stream:
                        if not request.taken:
                            await self._take(request, endpoints, attempt)
                        answer.add(output)
            except errors.ModelServerFailed as error:
                if not isinstance(error, errors.Refused) or isinstance(error, errors.Silent):
                    request.fail(error)
                elif not request.taken:
                    await self._take(request, endpoints, attempt)  # a refusal shows that it is healthy
                raise

    async def _take(self, request: Request, endpoints: Endpoints, attempt: Attempt) -> None:
        request.take()
        endpoints.took()
        if endpoints.circuit_seen:
            endpoints.circuit_seen = not await self._tell(lambda: self._circuits.close(attempt.model))
            self._freed()  # responses that waited for the circuit may be dispatched

    def _probe_failed(self, attempt: Attempt, error: errors.ModelServerFailed) -> None:
        self._circuits.probe_failed(attempt.model, attempt.response_id, str(error), error.code)

    async def _tell(self, call: Callable[[], object]) -> bool:
        """Update the circuit in Postgres; return whether it succeeded. If not, the next probe updates it."""
        try:
            await self._call(call)
        except errors.StoreUnavailable as error:
            log.warning("cannot update the circuit", extra={"cause": str(error)})
            return False
        return True

    def _hand_back(self, attempt: Attempt, endpoints: Endpoints, budget: "_RetryBudget") -> HandBack:
        error = budget.error or endpoints.error
        given_up = endpoints.given_up_since(budget.began_at)
        unavailable = attempt.probe or given_up or endpoints.down_since(budget.began_at)
        if unavailable and not given_up:
            endpoints.give_up()
        backoff_s = min(self._settings.wait_between_s, 2 ** min(attempt.waits, 6))
        asked_s = endpoints.asked_s(budget.told_until)
        return HandBack(
            str(error),
            waited=True,
            delay_s=max(backoff_s * random.uniform(0.5, 1), asked_s),  # noqa: S311  # jitter
            error_code=error.code,
            unavailable=unavailable,
            asked_s=asked_s,
        )


class _RetryBudget:
    """The failures of one attempt so far, and how long it may wait in its slot."""

    def __init__(self, attempt: Attempt, wait_in_slot_s: float) -> None:
        self._attempt = attempt
        self._wait_in_slot_s = wait_in_slot_s
        self._failures: Counter[Endpoint] = Counter()
        self.began_at = time.monotonic()
        self._waits_from = self.began_at
        self.tries = 0
        self.error: errors.ModelServerFailed | None = None
        self.not_before: dict[Endpoint, float] = {}
        self.told_until: dict[Endpoint, float] = {}

    @property
    def ends_at(self) -> float:
        """Time (monotonic clock) until which to wait. A probe does not wait, because it blocks all other dispatch."""
        if self._attempt.probe and not isinstance(self.error, errors.Erred):
            return self.began_at
        return self._waits_from + self._wait_in_slot_s

    def lose(self, endpoint: Endpoint, error: errors.ModelServerFailed) -> None:
        """Record a failure of an endpoint."""
        now = time.monotonic()
        pause_s = _FIRST_PAUSE_S * 2 ** self._failures[endpoint]
        self._failures[endpoint] += 1
        if isinstance(error, errors.Erred):
            # All tries are made in this run, because another run would count them from zero again. So the time that a
            # server took to fail does not count as waiting.
            self.tries += 1
            self._waits_from = now
        self.error = error
        self.told_until[endpoint] = now + retry_after_s(error)
        self.not_before[endpoint] = max(now + pause_s, self.told_until[endpoint])


def log_fields(attempt: Attempt) -> dict[str, object]:
    """Return the fields of log lines about an attempt."""
    return {"response": attempt.response_id, "attempt": attempt.number}

"""Asking a model's servers: which one, how often, for how long; and what to make of their failures."""

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

TRIES = 3  # of a request at which model servers fail before any output
_FIRST_PAUSE_S = 0.25


class Calls(Protocol):
    """Runs a call that blocks beside the loop."""

    async def __call__(self, call: Callable[[], T]) -> T: ...


class ModelClient:
    """Asks model servers for this process: each request at one endpoint at a time, until one gives an output.

    An endpoint that fails before that is followed by the next best at once, and asked again after a pause. Where all
    are busy or away for longer than `wait_in_slot_s`, the response goes back to waiting in Postgres; where it is not
    this response alone, the model's circuit opens.

    Args:
        note_dropped: leaves for operators which items of its context a run's model is not shown.
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
        """The outcome of the answer, or why there is none now."""
        endpoints = self._endpoints[attempt.model]
        endpoints.circuit_seen |= attempt.probe
        patience = _Patience(attempt, self._settings.wait_in_slot_s)
        trimmer = ContextTrimmer(attempt, model, self._tokenizers)
        while True:
            if not attempt.probe and endpoints.given_up_since(patience.began_at):
                return self._hand_back(attempt, endpoints, patience)
            endpoint = endpoints.choose(patience.not_before, all_open=attempt.probe)
            if endpoint is None:
                opens_at = endpoints.opens_at(patience.not_before, all_open=attempt.probe)
                if opens_at > patience.ends_at:
                    return self._hand_back(attempt, endpoints, patience)
                await endpoints.rest(opens_at)
                continue
            try:
                await self._read(attempt, model, endpoints, endpoint, answer)
                return answer.outcome()
            except errors.ModelServerFailed as error:
                if await self._shorten(trimmer, error, endpoint, answer):
                    attempt = trimmer.attempt
                    continue
                patience.lose(endpoint, error)
                if attempt.prefix and not answer.grown and error.code == "invalid_prompt":
                    return not_continued(str(error))
                if answer.grown or isinstance(error, errors.Refused) or patience.tries >= TRIES:
                    if attempt.probe and isinstance(error, errors.Erred | errors.Silent):
                        await self._tell(partial(self._probe_failed, attempt, error))
                    return failed(error.code or "server_error", str(error), kind=error.kind)
                log.info(
                    "model server not ready",
                    extra={**log_fields(attempt), "endpoint": endpoint.name, "cause": str(error)},
                )

    async def _shorten(
        self, trimmer: ContextTrimmer, error: errors.ModelServerFailed, endpoint: Endpoint, answer: OutputWriter
    ) -> bool:
        """Whether there is a shorter context to ask with, since this one was too long."""
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
            log.warning("cannot note what was dropped", extra={**log_fields(attempt), "cause": str(unavailable)})
        return True

    async def _read(
        self, attempt: Attempt, model: ModelConfig, endpoints: Endpoints, endpoint: Endpoint, answer: OutputWriter
    ) -> None:
        """Read an endpoint's answer to its end, and learn from it how the endpoint is."""
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
                    await self._take(request, endpoints, attempt)  # it is well, and says no
                raise

    async def _take(self, request: Request, endpoints: Endpoints, attempt: Attempt) -> None:
        request.take()
        endpoints.took()
        if endpoints.circuit_seen:
            endpoints.circuit_seen = not await self._tell(lambda: self._circuits.close(attempt.model))
            self._freed()  # what waited behind the circuit may be rung

    def _probe_failed(self, attempt: Attempt, error: errors.ModelServerFailed) -> None:
        self._circuits.probe_failed(attempt.model, attempt.response_id, str(error), error.code)

    async def _tell(self, call: Callable[[], object]) -> bool:
        """Whether Postgres could be told. If not: the circuit stays half-open, and the next probe will tell."""
        try:
            await self._call(call)
        except errors.StoreUnavailable as error:
            log.warning("cannot tell how the model server is", extra={"cause": str(error)})
            return False
        return True

    def _hand_back(self, attempt: Attempt, endpoints: Endpoints, patience: "_Patience") -> HandBack:
        error = patience.error or endpoints.error
        given_up = endpoints.given_up_since(patience.began_at)
        unavailable = attempt.probe or given_up or endpoints.down_since(patience.began_at)
        if unavailable and not given_up:
            endpoints.give_up()
        backoff_s = min(self._settings.wait_between_s, 2 ** min(attempt.waits, 6))
        asked_s = endpoints.asked_s(patience.told_until)
        return HandBack(
            str(error),
            waited=True,
            delay_s=max(backoff_s * random.uniform(0.5, 1), asked_s),  # noqa: S311  # jitter
            error_code=error.code,
            unavailable=unavailable,
            asked_s=asked_s,
        )


class _Patience:
    """What one attempt has met with so far, and until when it waits in its slot."""

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
        """By the monotonic clock. A probe does not wait: nobody else is rung for before it is back."""
        if self._attempt.probe and not isinstance(self.error, errors.Erred):
            return self.began_at
        return self._waits_from + self._wait_in_slot_s

    def lose(self, endpoint: Endpoint, error: errors.ModelServerFailed) -> None:
        """Take note of a failure."""
        now = time.monotonic()
        pause_s = _FIRST_PAUSE_S * 2 ** self._failures[endpoint]
        self._failures[endpoint] += 1
        if isinstance(error, errors.Erred):
            # Its few tries are made in this run: how long a server took to fail was no waiting, and in another run
            # they would begin anew.
            self.tries += 1
            self._waits_from = now
        self.error = error
        self.told_until[endpoint] = now + retry_after_s(error)
        self.not_before[endpoint] = max(now + pause_s, self.told_until[endpoint])


def log_fields(attempt: Attempt) -> dict[str, object]:
    """What log lines about an attempt carry."""
    return {"response": attempt.response_id, "attempt": attempt.number}

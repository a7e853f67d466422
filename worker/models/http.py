"""Sends one HTTP request to a model server and reads the answer, for any API: connection, timeouts, errors."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import aiohttp

from core import errors
from core.config.catalog import ModelConfig
from core.jsonio import JsonObject
from worker.models import failures
from worker.models.apis import authorization
from worker.models.protocol import HiddenProgress, Output, TextDelta
from worker.models.sse import DONE, EventParser

_CONNECT_TIMEOUT_S = 5
_MAX_ERROR_BYTES = 64 * 1024  # of the body of an error answer
# Maximum time to wait for the token counts after the finish reason.
_USAGE_TIMEOUT_S = 2.0
# Minimum interval between two extensions of the timeout: an extension costs more than reading a chunk.
_MIN_EXTENSION_INTERVAL_S = 0.05


class Reader(Protocol):
    """Converts the answer to one request to outputs.

    Attributes:
        has_finish_reason: whether the server has sent the reason why its answer ended; all later events are optional.
        is_complete: whether no further events can follow.
    """

    has_finish_reason: bool
    is_complete: bool

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one event completes.

        Raises:
            errors.ModelServerError: the event reports a failure of the server, or is invalid.
        """
        ...

    def read_document(self, answer: Any) -> list[Output]:
        """Return the outputs of an answer that is a single JSON document. Raises the same errors as `read`."""
        ...

    def end(self, *, has_end_marker: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes.

        Args:
            has_end_marker: whether the server sent an end marker before the end of the connection.

        Raises:
            errors.TransientError: the answer is incomplete.
        """
        ...


async def stream_outputs(
    session: aiohttp.ClientSession, url: str, model: ModelConfig, body: JsonObject, reader: Reader
) -> AsyncGenerator[Output]:
    """Send a POST request and yield the outputs of the answer as they arrive.

    Raises:
        errors.ModelServerError: see `ModelServer.stream`.
    """
    state = _AnswerState(reader, model.timeouts.idle)
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **authorization(model)}
    with _convert_errors(state):
        async with asyncio.timeout(model.timeouts.first_token) as state.timeout:
            async with session.post(
                url,
                json=body,
                headers=headers,
                allow_redirects=False,  # a redirect would send the API key to another server
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            ) as answer:
                try:
                    if answer.status != 200:
                        error_body = await answer.content.read(_MAX_ERROR_BYTES)
                        raise failures.answer_error(answer.status, error_body, answer.headers)
                    yield HiddenProgress()  # the server has accepted the request
                    async for chunk in answer.content.iter_any():
                        for output in merge_texts(state.feed(chunk)):
                            yield output
                        if state.is_finished:
                            break
                    for output in state.close():
                        yield output
                finally:
                    # Close the connection and do not return it to the pool, so that the server detects the disconnect.
                    answer.close()
    for output in reader.end(has_end_marker=state.events.has_end_marker):
        yield output


def merge_texts(outputs: Iterator[Output]) -> Iterator[Output]:
    """Merge consecutive texts without log probabilities, so that later steps process chunks instead of tokens."""
    texts: list[str] = []
    try:
        for output in outputs:
            if type(output) is TextDelta and not output.logprobs:
                texts.append(output.text)
                continue
            if texts:
                yield TextDelta("".join(texts), delta_count=len(texts))
                texts.clear()
            yield output
    except errors.ModelServerError:
        if texts:
            yield TextDelta("".join(texts), delta_count=len(texts))
        raise
    if texts:
        yield TextDelta("".join(texts), delta_count=len(texts))


@contextmanager
def _convert_errors(state: "_AnswerState") -> Iterator[None]:
    """Convert connection errors and timeouts to our exceptions; suppress them after the finish reason."""
    try:
        yield
    except TimeoutError as error:
        if not state.timeout.expired():
            raise errors.ModelServerUnreachable("Connecting to the model server timed out.") from error
        if not state.has_finish_reason:
            raise errors.AnswerTimeout("The model server was silent for too long.") from error
    except aiohttp.ClientSSLError as error:
        message = "The model server does not speak TLS although its base_url uses https, or its certificate is invalid."
        raise errors.TransientError(message) from error
    except aiohttp.ClientConnectorError as error:
        reason = error.strerror or type(error.os_error).__name__
        raise errors.ModelServerUnreachable(f"The model server cannot be reached: {reason}.") from error
    except aiohttp.ClientError as error:
        if not state.has_finish_reason:
            raise errors.TransientError(f"The connection to the model server broke: {type(error).__name__}.") from error


class _AnswerState:
    """The state of an answer while it is read: its events, and the timeout for the next output.

    Only outputs reset the timeout; comments and empty chunks do not.
    """

    def __init__(self, reader: Reader, idle_timeout_s: float) -> None:
        self.events = EventParser()
        self.is_finished = False  # whether the rest of the body need not be read
        self.timeout = asyncio.timeout(None)
        self._reader = reader
        self._idle_timeout_s = idle_timeout_s
        self._now = asyncio.get_running_loop().time
        self._extended_at = 0.0
        self._awaits_optional_events = False  # such as token counts, after the finish reason

    @property
    def has_finish_reason(self) -> bool:
        """Whether the server has sent the finish reason."""
        return self._reader.has_finish_reason

    def feed(self, chunk: bytes) -> Iterator[Output]:
        """Yield the outputs that these bytes complete."""
        is_timeout_extended = False
        for event in self.events.feed(chunk):
            if event is DONE:
                self.is_finished = True
                return
            for output in self._reader.read(event):
                if not is_timeout_extended:
                    self._extend_timeout()
                    is_timeout_extended = True
                yield output
            if self._reader.is_complete:
                self.is_finished = True
                return
        if self._reader.has_finish_reason and not self._awaits_optional_events:
            self._awaits_optional_events = True
            self.timeout.reschedule(self._now() + min(self._idle_timeout_s, _USAGE_TIMEOUT_S))

    def close(self) -> Iterator[Output]:
        """Yield the outputs that the end of the body completes."""
        if self.is_finished:
            return
        read_event = self._reader.read_document if self.events.is_document else self._reader.read
        for event in self.events.close():
            if event is not DONE:
                yield from read_event(event)

    def _extend_timeout(self) -> None:
        now = self._now()
        if now - self._extended_at > _MIN_EXTENSION_INTERVAL_S and not self._awaits_optional_events:
            self._extended_at = now
            self.timeout.reschedule(now + self._idle_timeout_s)

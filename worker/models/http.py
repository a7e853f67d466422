"""Sends one HTTP request to a model server and reads the answer, for any API: connection, timeouts, errors."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import aiohttp

from core import errors
from core.config.catalog import ModelConfig
from worker.models import failures
from worker.models.protocol import Output, TextDelta, Thinking
from worker.models.sse import DONE, Events

_CONNECT_S = 5
_ERROR_LIMIT = 64 * 1024  # maximum number of bytes read from the body of an error
# Time that a server has to send the token counts after the reason why its answer ended.
_AFTER_S = 2.0
# Minimum interval between two reschedulings of the timeout: rescheduling costs more than reading a chunk.
_TICK_S = 0.05


class Reader(Protocol):
    """Converts the answer to one request into outputs.

    Attributes:
        finished: whether the server has sent the reason why its answer ended; further events are optional.
        done: whether no further events can follow.
    """

    finished: bool
    done: bool

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one event completes.

        Raises:
            errors.ModelServerFailed: the event reports a failure of the server, or is invalid.
        """
        ...

    def complete_outputs(self, answer: Any) -> list[Output]:
        """Return the outputs of an answer that is a single JSON document. Raises the same errors as `read`."""
        ...

    def end(self, *, marked: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes.

        Args:
            marked: whether the server sent an end marker. If not, only the connection ended, for whatever reason.

        Raises:
            errors.Erred: the answer is incomplete.
        """
        ...


async def ask(
    session: aiohttp.ClientSession, url: str, model: ModelConfig, body: dict[str, Any], reader: Reader
) -> AsyncGenerator[Output]:
    """Send a POST request and yield the outputs of the answer as they arrive. Raises as `ModelServer.stream` does."""
    reading = _Reading(reader, model.timeouts.idle)
    key = model.api_key()
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with _explained(reading):
        async with asyncio.timeout(model.timeouts.first_token) as reading.clock:
            async with session.post(
                url,
                json=body,
                headers=headers,
                allow_redirects=False,  # a redirect would send the API key to another server
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            ) as answer:
                try:
                    if answer.status != 200:
                        raw = await answer.content.read(_ERROR_LIMIT)
                        raise failures.of_answer(answer.status, raw, answer.headers)
                    yield Thinking()  # the server has taken the request
                    async for chunk in answer.content.iter_any():
                        for output in joined(reading.feed(chunk)):
                            yield output
                        if reading.over:
                            break
                    for output in reading.close():
                        yield output
                finally:
                    # Close the connection instead of returning it to the pool: the server must notice the disconnect.
                    answer.close()
    for output in reader.end(marked=reading.events.ended):
        yield output


def joined(outputs: Iterator[Output]) -> Iterator[Output]:
    """Merge consecutive texts without log probabilities, so that they are processed per chunk instead of per token."""
    texts: list[str] = []
    try:
        for output in outputs:
            if type(output) is TextDelta and not output.logprobs:
                texts.append(output.text)
                continue
            if texts:
                yield TextDelta("".join(texts), deltas=len(texts))
                texts.clear()
            yield output
    except errors.ModelServerFailed:
        if texts:
            yield TextDelta("".join(texts), deltas=len(texts))
        raise
    if texts:
        yield TextDelta("".join(texts), deltas=len(texts))


@contextmanager
def _explained(reading: "_Reading") -> Iterator[None]:
    """Convert connection errors and timeouts into our exceptions; ignore them if the answer was already complete."""
    try:
        yield
    except TimeoutError as error:
        if not reading.clock.expired():
            raise errors.Unreachable("Connecting to the model server timed out.") from error
        if not reading.finished:
            raise errors.Silent("The model server was silent for too long.") from error
    except aiohttp.ClientSSLError as error:
        text = "The model server does not speak TLS although its base_url uses https, or its certificate is invalid."
        raise errors.Erred(text) from error
    except aiohttp.ClientConnectorError as error:
        why = error.strerror or type(error.os_error).__name__
        raise errors.Unreachable(f"The model server cannot be reached: {why}.") from error
    except aiohttp.ClientError as error:
        if not reading.finished:
            raise errors.Erred(f"The connection to the model server broke: {type(error).__name__}.") from error


class _Reading:
    """The state of an answer being read: its bytes, its events, and the timeout for the silence between two outputs.

    Only outputs reset the timeout; comments and empty chunks do not.
    """

    def __init__(self, reader: Reader, idle_s: float) -> None:
        self.events = Events()
        self.over = False  # whether reading has ended
        self.clock = asyncio.timeout(None)
        self._reader = reader
        self._idle_s = idle_s
        self._now = asyncio.get_running_loop().time
        self._stamped_at = 0.0
        self._waits = False  # whether it waits only for optional events, such as token counts

    @property
    def finished(self) -> bool:
        """Whether the server has sent the reason why the answer ended."""
        return self._reader.finished

    def feed(self, chunk: bytes) -> Iterator[Output]:
        """Yield the outputs that these bytes complete."""
        pushed = False
        for event in self.events.feed(chunk):
            if event is DONE:
                self.over = True
                return
            for output in self._reader.read(event):
                if not pushed:
                    self._push()
                    pushed = True
                yield output
            if self._reader.done:
                self.over = True
                return
        if self._reader.finished and not self._waits:
            self._waits = True
            self.clock.reschedule(self._now() + min(self._idle_s, _AFTER_S))

    def close(self) -> Iterator[Output]:
        """Yield the outputs that the end of the body completes."""
        read = self._reader.complete_outputs if self.events.in_one_piece else self._reader.read
        for event in () if self.over else self.events.close():
            if event is not DONE:
                yield from read(event)

    def _push(self) -> None:
        now = self._now()
        if now - self._stamped_at > _TICK_S and not self._waits:
            self._stamped_at = now
            self.clock.reschedule(now + self._idle_s)

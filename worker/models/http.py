"""One request to a model server and its answer, whichever API both are of: connection, clocks, errors."""

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
_ERROR_LIMIT = 64 * 1024  # bytes of an error's body that are read
# After it said why its answer ends, a server may still count the tokens; for no longer than this.
_AFTER_S = 2.0
# The clock is set anew by an output no more often than this: setting it costs more than reading a chunk.
_TICK_S = 0.05


class Reader(Protocol):
    """Reads the answer to one request as what a response needs of it.

    Attributes:
        finished: the server said why its answer ends; what may follow is not waited for.
        done: nothing can follow.
    """

    finished: bool
    done: bool

    def read(self, event: Any) -> list[Output]:
        """The outputs that one event completes.

        Raises:
            errors.ModelServerFailed: it says that the server failed, or makes no sense.
        """
        ...

    def complete_outputs(self, answer: Any) -> list[Output]:
        """The outputs of an answer that came in one piece. Raises as `read` does."""
        ...

    def end(self, *, marked: bool) -> list[Output]:
        """The outputs that the end completes.

        Args:
            marked: the server said that it is the end; else the connection ended, which says nothing.

        Raises:
            errors.Erred: it came too early.
        """
        ...


async def ask(
    session: aiohttp.ClientSession, url: str, model: ModelConfig, body: dict[str, Any], reader: Reader
) -> AsyncGenerator[Output]:
    """Post a request and give what its answer holds, as it comes. Raises as `ModelServer.stream` says."""
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
                allow_redirects=False,  # whoever answers would get the key
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            ) as answer:
                try:
                    if answer.status != 200:
                        raw = await answer.content.read(_ERROR_LIMIT)
                        raise failures.of_answer(answer.status, raw, answer.headers)
                    yield Thinking()  # the request was taken
                    async for chunk in answer.content.iter_any():
                        for output in joined(reading.feed(chunk)):
                            yield output
                        if reading.over:
                            break
                    for output in reading.close():
                        yield output
                finally:
                    # Not given back to the pool half read: the server must see that nobody listens any more.
                    answer.close()
    for output in reader.end(marked=reading.events.ended):
        yield output


def joined(outputs: Iterator[Output]) -> Iterator[Output]:
    """The outputs, with texts that come one after the other in one: all but reading them is done once a chunk."""
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
    """What breaks an answer is an error of ours, unless the answer was whole by then."""
    try:
        yield
    except TimeoutError as error:
        if not reading.clock.expired():
            raise errors.Unreachable("The model server could not be connected to in time.") from error
        if not reading.finished:
            raise errors.Silent("The model server was silent for too long.") from error
    except aiohttp.ClientSSLError as error:
        text = "The model server does not speak TLS as its base_url says, or its certificate is wrong."
        raise errors.Erred(text) from error
    except aiohttp.ClientConnectorError as error:
        why = error.strerror or type(error.os_error).__name__
        raise errors.Unreachable(f"The model server cannot be reached: {why}.") from error
    except aiohttp.ClientError as error:
        if not reading.finished:
            raise errors.Erred(f"The connection to the model server broke: {type(error).__name__}.") from error


class _Reading:
    """An answer being read: its bytes, what they mean, and the clock of the silence between two outputs.

    Only outputs push the clock on: comments and empty chunks are not an answer.
    """

    def __init__(self, reader: Reader, idle_s: float) -> None:
        self.events = Events()
        self.over = False  # nothing more is to be read
        self.clock = asyncio.timeout(None)
        self._reader = reader
        self._idle_s = idle_s
        self._now = asyncio.get_running_loop().time
        self._stamped_at = 0.0
        self._waits = False  # for what may follow the end

    @property
    def finished(self) -> bool:
        """Whether the server said why the answer ends."""
        return self._reader.finished

    def feed(self, chunk: bytes) -> Iterator[Output]:
        """The outputs that these bytes complete."""
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
        """The outputs that the end of the body completes."""
        read = self._reader.complete_outputs if self.events.in_one_piece else self._reader.read
        for event in () if self.over else self.events.close():
            if event is not DONE:
                yield from read(event)

    def _push(self) -> None:
        now = self._now()
        if now - self._stamped_at > _TICK_S and not self._waits:
            self._stamped_at = now
            self.clock.reschedule(now + self._idle_s)

"""Model servers that speak Chat Completions: vLLM, SGLang, llama.cpp, Ollama, hosted ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp

from core import errors
from core.attempts import Attempt
from core.catalog import ModelConfig
from worker.model_servers import Output, Thinking, chat_request, sse
from worker.model_servers.chat_chunks import Chunks, said

# Statuses by which a server says that it, or its queue, is full or not up yet.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504})
_CONNECT_S = 5


class ChatCompletions:
    """Streams `POST {base_url}/chat/completions`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def stream(self, model: ModelConfig, attempt: Attempt, base_url: str) -> AsyncGenerator[Output]:
        """The answer to a request, as it comes. See `ModelServer.stream`."""
        key = model.api_key()
        try:
            async with asyncio.timeout(model.timeouts.first_token) as clock:
                async with self._session.post(
                    f"{base_url}/chat/completions",
                    json=chat_request.body(
                        model.upstream_model or attempt.model, attempt.request, attempt.context, attempt.prefix
                    ),
                    headers={"Authorization": f"Bearer {key}"} if key else None,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                ) as answer:
                    try:
                        await _check(answer)
                        yield Thinking()  # it has taken the request
                        async for output in _outputs(answer):
                            clock.reschedule(asyncio.get_running_loop().time() + model.timeouts.idle)
                            yield output
                    finally:
                        # Not given back to the pool half read: the server must see that nobody listens any more.
                        answer.close()
        except TimeoutError as error:
            if clock.expired():
                raise errors.Silent("The model server was silent for too long.") from error
            raise errors.Unreachable("The model server could not be connected to in time.") from error
        except aiohttp.ClientConnectorError as error:
            raise errors.Unreachable(f"The model server cannot be reached: {error.strerror}.") from error
        except aiohttp.ClientError as error:
            raise errors.Erred(f"The connection to the model server broke: {type(error).__name__}.") from error


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 200:
        return
    words = said(await answer.content.read(64 * 1024))
    text = f"The model server answered {answer.status}: {words}"
    if answer.status in _NOT_NOW:
        code = "rate_limit_exceeded" if answer.status == 429 else None
        raise errors.Unavailable(text, code=code, retry_after_s=_retry_after_s(answer))
    if answer.status >= 500:
        raise errors.Erred(text)
    raise errors.Refused(text, code="invalid_prompt" if answer.status in {400, 413, 422} else None)


def _retry_after_s(answer: aiohttp.ClientResponse) -> float | None:
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None  # none, or a date: our own back-off does


async def _outputs(answer: aiohttp.ClientResponse) -> AsyncIterator[Output]:
    chunks = Chunks()
    async for data in sse.data_lines(answer.content.iter_any()):
        if data == b"[DONE]":
            for output in chunks.end():
                yield output
            return
        for output in chunks.read(data):
            yield output
    if not chunks.finished:
        raise errors.Erred("The model server closed the connection before the end of its answer.")

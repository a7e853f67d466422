"""Model servers that speak Chat Completions: vLLM, SGLang, llama.cpp, Ollama, hosted ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import orjson

from core import errors
from core.catalog import ModelConfig
from core.schemas.request import CreateResponse, Message
from worker.model_servers import Finished, Output, TextDelta, Used, sse

# Statuses by which a server says that it, or its queue, is full or not up yet.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504})
_CONNECT_S = 5
# Of what a server says about an error, this much is passed on.
_SAID = 500


class ChatCompletions:
    """Streams `POST {base_url}/chat/completions`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def stream(self, name: str, model: ModelConfig, request: CreateResponse) -> AsyncGenerator[Output]:
        """The answer to a request, as it comes. See `ModelServer.stream`."""
        key = model.api_key()
        try:
            async with asyncio.timeout(model.timeouts.first_token) as clock:
                async with self._session.post(
                    f"{str(model.base_url).rstrip('/')}/chat/completions",
                    json=body(name, model, request),
                    headers={"Authorization": f"Bearer {key}"} if key else None,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                ) as answer:
                    try:
                        await _check(answer)
                        async for output in _outputs(answer):
                            clock.reschedule(asyncio.get_running_loop().time() + model.timeouts.idle)
                            yield output
                    finally:
                        # Not given back to the pool half read: the server must see that nobody listens any more.
                        answer.close()
        except TimeoutError as error:
            if clock.expired():
                raise errors.Refused("The model server was silent for too long.") from error
            raise errors.Unavailable("The model server could not be connected to in time.") from error
        except aiohttp.ClientConnectorError as error:
            raise errors.Unavailable(f"The model server cannot be reached: {error.strerror}.") from error
        except aiohttp.ClientError as error:
            raise errors.Erred(f"The connection to the model server broke: {type(error).__name__}.") from error


def body(name: str, model: ModelConfig, request: CreateResponse) -> dict[str, Any]:
    """The Chat Completions request for a response."""
    sent: dict[str, Any] = {
        "model": model.upstream_model or name,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    if request.max_output_tokens is not None:
        sent["max_tokens"] = request.max_output_tokens
    return sent


def _messages(request: CreateResponse) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    if request.instructions is not None:
        messages.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        return [*messages, {"role": "user", "content": request.input}]
    return messages + [_message(message) for message in request.input]


def _message(message: Message) -> dict[str, str]:
    content = message.content
    if not isinstance(content, str):
        content = "".join(part.text for part in content)
    # `developer` is OpenAI's newer word for `system`; most servers' chat templates know only the older one.
    return {"role": "system" if message.role == "developer" else message.role, "content": content}


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 200:
        return
    said = _said(await answer.content.read(64 * 1024))
    text = f"The model server answered {answer.status}: {said}"
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


def _said(raw: bytes) -> str:
    """What an error's body says, in whichever of the usual shapes it comes."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw[:_SAID].decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return str(found)[:_SAID]


async def _outputs(answer: aiohttp.ClientResponse) -> AsyncIterator[Output]:
    finished = False
    async for data in sse.data_lines(answer.content.iter_any()):
        if data == b"[DONE]":
            if not finished:
                yield Finished(None)
            return
        for output in _read(data):
            finished = finished or isinstance(output, Finished)
            yield output
    if not finished:
        raise errors.Erred("The model server closed the connection before the end of its answer.")


def _read(data: bytes) -> list[Output]:
    """The outputs of one chunk."""
    try:
        chunk = orjson.loads(data)
        if "error" in chunk:
            raise errors.Refused(f"The model server failed: {_said(data)}")
        outputs: list[Output] = []
        for choice in chunk.get("choices", ())[:1]:
            text = (choice.get("delta") or {}).get("content")
            if text:
                outputs.append(TextDelta(str(text)))
            if choice.get("finish_reason"):
                outputs.append(Finished(str(choice["finish_reason"])))
        if chunk.get("usage"):
            outputs.append(_used(chunk["usage"]))
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise errors.Refused("The model server sent something that is not a chat completion.") from error
    return outputs


def _used(usage: dict[str, Any]) -> Used:
    return Used(
        input_tokens=int(usage["prompt_tokens"]),
        output_tokens=int(usage["completion_tokens"]),
        cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        reasoning_tokens=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )

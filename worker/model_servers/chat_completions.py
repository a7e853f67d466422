"""Model servers that speak Chat Completions: vLLM, SGLang, llama.cpp, Ollama, hosted ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import orjson

from core import errors
from core.attempts import Attempt
from core.catalog import ModelConfig
from worker.model_servers import Finished, Output, TextDelta, ToolCall, Used, chat_request, sse

# Statuses by which a server says that it, or its queue, is full or not up yet.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504})
_CONNECT_S = 5
# Of what a server says about an error, this much is passed on.
_SAID = 500


class ChatCompletions:
    """Streams `POST {base_url}/chat/completions`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def stream(self, model: ModelConfig, attempt: Attempt) -> AsyncGenerator[Output]:
        """The answer to a request, as it comes. See `ModelServer.stream`."""
        key = model.api_key()
        try:
            async with asyncio.timeout(model.timeouts.first_token) as clock:
                async with self._session.post(
                    f"{str(model.base_url).rstrip('/')}/chat/completions",
                    json=chat_request.body(model.upstream_model or attempt.model, attempt.request, attempt.context),
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
    chunks = _Chunks()
    async for data in sse.data_lines(answer.content.iter_any()):
        if data == b"[DONE]":
            for output in chunks.end():
                yield output
            return
        for output in chunks.read(data):
            yield output
    if not chunks.finished:
        raise errors.Erred("The model server closed the connection before the end of its answer.")


class _Chunks:
    """The chunks of one answer; the pieces of its tool calls are kept until each call is whole."""

    def __init__(self) -> None:
        self.finished = False
        self._calls: dict[int, dict[str, str]] = {}

    def read(self, data: bytes) -> list[Output]:
        """The outputs that one chunk completes."""
        try:
            chunk = orjson.loads(data)
            if "error" in chunk:
                raise errors.Refused(f"The model server failed: {_said(data)}")
            outputs: list[Output] = []
            for choice in chunk.get("choices", ())[:1]:
                outputs += self._choice(choice)
            if chunk.get("usage"):
                outputs.append(_used(chunk["usage"]))
        except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError) as error:
            raise errors.Refused("The model server sent something that is not a chat completion.") from error
        return outputs

    def end(self) -> list[Output]:
        """The outputs that the end completes, where the server did not say why it ended."""
        return [] if self.finished else [*self._whole_calls(), self._finish(None)]

    def _choice(self, choice: dict[str, Any]) -> list[Output]:
        delta = choice.get("delta") or {}
        outputs: list[Output] = []
        if delta.get("content"):
            outputs.append(TextDelta(str(delta["content"])))
        for piece in delta.get("tool_calls") or ():
            self._add(piece)
        reason = choice.get("finish_reason")
        if reason:
            # Cut off, a call is not whole: its arguments are of no use to anybody.
            outputs += self._whole_calls() if reason in {"stop", "tool_calls", "function_call"} else []
            outputs.append(self._finish(str(reason)))
        return outputs

    def _add(self, piece: dict[str, Any]) -> None:
        call = self._calls.setdefault(int(piece.get("index") or 0), {"id": "", "name": "", "arguments": ""})
        function = piece.get("function") or {}
        call["id"] = call["id"] or str(piece.get("id") or "")
        call["name"] = call["name"] or str(function.get("name") or "")
        call["arguments"] += str(function.get("arguments") or "")

    def _whole_calls(self) -> list[Output]:
        calls, self._calls = self._calls, {}
        return [ToolCall(call["id"], call["name"], call["arguments"]) for _, call in sorted(calls.items())]

    def _finish(self, reason: str | None) -> Finished:
        self.finished = True
        return Finished(reason)


def _used(usage: dict[str, Any]) -> Used:
    return Used(
        input_tokens=int(usage["prompt_tokens"]),
        output_tokens=int(usage["completion_tokens"]),
        cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        reasoning_tokens=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )

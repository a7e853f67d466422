"""An OpenAI-compatible model server whose outputs, delays and faults are scripted by each request."""

import asyncio
import fcntl
import json
import socket
import struct
import termios
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from tests.model_server import context
from tests.model_server.script import (
    ERROR_TYPES,
    BadScript,
    Script,
    chunks_of,
    healed,
    logprobs_of,
    pieces_of,
    script_for,
    text_of,
    words_of,
)

MODEL = "scripted"
BODY_LIMIT = 64 * 1024 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: the peer gets a RST, not a FIN


@dataclass(slots=True)
class Record:
    body: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    how: str | None = None
    tokens_sent: int = 0


class Stats:
    """Records of all requests: when each began and ended, and how."""

    def __init__(self) -> None:
        self.open = 0
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.peak = self.open
        self.by_tag: dict[str, list[Record]] = defaultdict(list)

    def begin(self, tag: str, body: dict[str, Any]) -> Record:
        record = Record(body)
        self.by_tag[tag].append(record)
        self.requests += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        return record

    def end(self, record: Record, how: str) -> None:
        """Record the end. The first call wins, so a client that disconnects after `[DONE]` changes nothing."""
        if record.how is None:
            record.how = how
            record.ended = time.monotonic()
            self.open -= 1

    def report(self, tag: str | None) -> dict[str, Any]:
        chosen = self.by_tag if tag is None else {tag: self.by_tag.get(tag, [])}
        return {
            "open": self.open,
            "requests": self.requests,
            "peak": self.peak,
            "by_tag": {name: [asdict(record) for record in records] for name, records in chosen.items()},
        }


STATS = web.AppKey("stats", Stats)


class Answer:
    """One request in progress: sends tokens and faults at their scheduled times."""

    def __init__(self, request: web.Request, body: dict[str, Any], script: Script, record: Record) -> None:
        self.request = request
        self.script = script
        self.record = record
        self.stats = request.app[STATS]
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.model = str(body.get("model", MODEL))
        self.messages = body["messages"]
        self.tools = body.get("tools", ())
        calls = pieces_of(script.tool_calls, whole=script.whole)
        self.chunks: list[str | dict[str, Any]] = [*chunks_of(script, self.messages), *calls]
        self.finish = script.finish
        limit = body.get("max_output_tokens", body.get("max_completion_tokens", body.get("max_tokens")))
        if limit is not None and limit < len(self.chunks):
            del self.chunks[limit:]
            self.finish = "length" if script.finish else None
        asked = bool((body.get("stream_options") or {}).get("include_usage")) or not body.get("stream")
        self.with_usage = asked if script.usage is None else script.usage

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def usage(self, inputs: str = "prompt_tokens", outputs: str = "completion_tokens") -> dict[str, Any]:
        prompt = sum(len(text_of(message).split()) for message in self.messages)
        sent = self.record.tokens_sent
        counted: dict[str, Any] = {inputs: prompt, outputs: sent, "total_tokens": prompt + sent}
        if self.script.cached_tokens is not None:
            counted[f"{inputs}_details"] = {"cached_tokens": self.script.cached_tokens}
        if self.script.reasoning_tokens is not None:
            counted[f"{outputs}_details"] = {"reasoning_tokens": self.script.reasoning_tokens}
        return counted

    async def whole(self) -> web.Response:
        """Reply in one piece, after the time that the stream would have taken."""
        await asyncio.sleep(self.script.first_delay_s)
        for n, _ in enumerate(self.chunks):
            await self.fault_at(n)
            self.record.tokens_sent += 1
            if n < len(self.chunks) - 1 and self.script.delay_s:
                await asyncio.sleep(self.script.delay_s)
        await self.fault_at(len(self.chunks), last=True)
        self.stats.end(self.record, "finished")
        if self.script.garbage_after is not None:
            return web.Response(text="{this is not JSON", content_type="application/json")
        message = {"role": "assistant", "content": "".join(chunk for chunk in self.chunks if isinstance(chunk, str))}
        if self.finish == "tool_calls":
            message["tool_calls"] = pieces_of(self.script.tool_calls, whole=True)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        answer = self.envelope("chat.completion", [choice])
        return web.json_response(answer | ({"usage": self.usage()} if self.with_usage else {}))

    async def stream(self) -> web.StreamResponse:
        """Reply as server-sent events: one write per chunk, each at its scheduled time."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self.request)
        opening, closing = self.frame_around_token()
        clock = asyncio.get_running_loop().time
        due = clock() + self.script.first_delay_s
        await asyncio.sleep(self.script.first_delay_s)
        for n, chunk in enumerate(self.chunks):
            await self.fault_at(n, response)
            if n == 0:
                await response.write(self.delta({"role": "assistant", "content": ""}))
                await self.say_thought(response)
            self.record.tokens_sent += 1
            if isinstance(chunk, str) and self.script.logprobs:
                await response.write(self.delta({"content": chunk}, logprobs=logprobs_of(chunk)))
            elif isinstance(chunk, str):
                await response.write(opening + json.dumps(chunk).encode() + closing)
            else:
                await response.write(self.delta({"tool_calls": [chunk]}))
            due += self.script.delay_s
            if n < len(self.chunks) - 1:
                await asyncio.sleep(max(0.0, due - clock()))
        await self.fault_at(len(self.chunks), response, last=True)
        *before, final = self.ending() or [b""]
        for piece in before:
            await response.write(piece)
        self.stats.end(self.record, "finished")
        await response.write_eof(final)
        return response

    def frame_around_token(self) -> tuple[bytes, bytes]:
        """Serialize a chunk once; only the token between the two halves changes."""
        opening, closing = self.delta({"content": "\0"}).split(json.dumps("\0").encode())
        return opening, closing

    async def say_thought(self, response: web.StreamResponse) -> None:
        for n, word in enumerate(words_of(self.script.reasoning)):
            await self.hang_in_thought(n)
            await response.write(self.delta({"reasoning_content": word}))

    async def hang_in_thought(self, n: int) -> None:
        """Hang if `n` is the scripted number of reasoning words."""
        if n == self.script.hang_in_thought:
            await asyncio.Event().wait()

    def delta(self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        found = None if logprobs is None else {"content": logprobs}
        choice = {"index": 0, "delta": delta, "logprobs": found, "finish_reason": finish}
        return event(self.envelope("chat.completion.chunk", [choice]))

    def ending(self) -> list[bytes]:
        pieces = [self.delta({"refusal": word}) for word in words_of(self.script.refusal)]
        if self.script.annotations:
            pieces.append(self.delta({"annotations": list(self.script.annotations)}))
        pieces += [self.delta({}, self.finish)] if self.finish else []
        if self.with_usage:
            pieces.append(event(self.envelope("chat.completion.chunk", []) | {"usage": self.usage()}))
        return [*pieces, b"data: [DONE]\n\n"] if self.script.done else pieces

    async def fault_at(self, n: int, response: web.StreamResponse | None = None, *, last: bool = False) -> None:
        """Play the fault that is due after `n` tokens; one scripted for after the end comes at the end."""

        def due(after: int | None) -> bool:
            return after is not None and (n == after or (last and n < after))

        if response is not None and due(self.script.garbage_after):
            await response.write(b"data: {this is not JSON\n\n")
        if due(self.script.drop_after):
            await self.drop()
        if due(self.script.hang_after):
            await asyncio.Event().wait()

    async def drop(self) -> None:
        """Close the connection to the client after everything written so far has been delivered."""
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        sock = transport.get_extra_info("socket")
        while transport.get_write_buffer_size() or unacknowledged(sock):
            await asyncio.sleep(0.001)
        self.stats.end(self.record, "dropped")
        if self.script.drop_how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
        await asyncio.Event().wait()  # the lost connection cancels this handler


def unacknowledged(sock: socket.socket) -> int:
    """The number of bytes in the kernel's send queue, which a reset would discard."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return count


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def refusal(status: int, message: str, code: str | None = None, retry_after: float | None = None) -> web.Response:
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return web.json_response(body, status=status, headers=headers)


def asks(answer: type[Answer], conversation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Build the route handler of an API.

    Args:
        answer: class that plays the script.
        conversation: field of the request body that contains the conversation.
    """

    async def route(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            messages = [said for said in body[conversation] if said.get("role") or said.get("output")]
            script = script_for(messages)
        except BadScript as wrong:
            return refusal(400, str(wrong), "bad_script")
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            return refusal(400, f"not a request with {conversation}: {wrong!r}")
        return await played(answer, request, body | {"messages": messages}, script, body)

    return route


async def played(
    answer: type[Answer], request: web.Request, body: dict[str, Any], script: Script, sent: dict[str, Any]
) -> web.StreamResponse:
    stats = request.app[STATS]
    record = stats.begin(script.tag, sent)
    if script.fail_times is not None and len(stats.by_tag[script.tag]) > script.fail_times:
        script = healed(script)
    try:
        if script.status is not None:
            await asyncio.sleep(script.first_delay_s)
            stats.end(record, "errored")
            return refusal(script.status, script.message, script.code, script.retry_after)
        too_long = context.refused(script, body)
        if too_long is not None:
            stats.end(record, "errored")
            return too_long
        if script.prefix == "refuse" and body["messages"][-1].get("role") == "assistant":
            stats.end(record, "errored")
            return refusal(400, "The last message cannot be the assistant's.")
        playing = answer(request, body, script, record)
        return await (playing.stream() if body.get("stream") else playing.whole())
    except (asyncio.CancelledError, ConnectionResetError):
        stats.end(record, "client_closed")
        raise asyncio.CancelledError from None  # in either case, aiohttp drops the connection without logging
    finally:
        stats.end(record, "errored")


async def models(_request: web.Request) -> web.Response:
    return web.json_response(
        {
            "object": "list",
            "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}],
        }
    )


async def health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def stats_report(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATS].report(request.query.get("tag")))


async def reset(request: web.Request) -> web.Response:
    request.app[STATS].reset()
    return web.json_response({"status": "ok"})


async def serve(port: int, native: type[Answer]) -> int:
    """Listen on `port` (0: a free one) and return it; the event loop serves requests until it stops.

    Args:
        native: plays scripts for the Responses API.
    """
    application = web.Application(client_max_size=BODY_LIMIT)
    application[STATS] = Stats()
    application[context.WINDOW] = {}
    application.add_routes(context.ROUTES)
    application.router.add_post("/v1/chat/completions", asks(Answer, "messages"))
    application.router.add_post("/v1/responses", asks(native, "input"))
    application.router.add_get("/v1/models", models)
    application.router.add_get("/health", health)
    application.router.add_get("/stats", stats_report)
    application.router.add_post("/reset", reset)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096, reuse_address=True).start()
    except OSError:
        await runner.cleanup()
        raise
    return int(runner.addresses[0][1])

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
    InvalidScriptError,
    Script,
    build_logprobs,
    read_script,
    read_text,
    remove_faults,
    split_output,
    split_tool_calls,
    split_words,
)

MODEL = "scripted"
BODY_LIMIT = 64 * 1024 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: the peer gets a RST, not a FIN


@dataclass(slots=True)
class Record:
    """The record of one request; times are those of the monotonic clock."""

    body: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    outcome: str | None = None  # "finished", "dropped", "errored" or "client_closed"; None until the end
    tokens_sent: int = 0


class Stats:
    """The counts and the records of requests since the last reset."""

    def __init__(self) -> None:
        self.active_count = 0
        self.reset()

    def reset(self) -> None:
        self.request_count = 0
        self.max_active_count = self.active_count
        self.by_tag: dict[str, list[Record]] = defaultdict(list)

    def begin_request(self, tag: str, body: dict[str, Any]) -> Record:
        record = Record(body)
        self.by_tag[tag].append(record)
        self.request_count += 1
        self.active_count += 1
        self.max_active_count = max(self.max_active_count, self.active_count)
        return record

    def end_request(self, record: Record, outcome: str) -> None:
        """Record the end of a request; only the first call has an effect, as a client may disconnect after the end."""
        if record.outcome is None:
            record.outcome = outcome
            record.ended = time.monotonic()
            self.active_count -= 1

    def report(self, tag: str | None) -> dict[str, Any]:
        records_by_tag = self.by_tag if tag is None else {tag: self.by_tag.get(tag, [])}
        return {
            "open": self.active_count,
            "requests": self.request_count,
            "peak": self.max_active_count,
            "by_tag": {name: [asdict(record) for record in records] for name, records in records_by_tag.items()},
        }


STATS = web.AppKey("stats", Stats)


class ChatReply:
    """A reply in the Chat Completions API, which sends tokens and faults at their scheduled times."""

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
        calls = split_tool_calls(script.tool_calls, unsplit_tool_calls=script.unsplit_tool_calls)
        self.chunks: list[str | dict[str, Any]] = [*split_output(script, self.messages), *calls]
        self.finish = script.finish
        limit = body.get("max_output_tokens", body.get("max_completion_tokens", body.get("max_tokens")))
        if limit is not None and limit < len(self.chunks):
            del self.chunks[limit:]
            self.finish = "length" if script.finish else None
        is_usage_requested = bool((body.get("stream_options") or {}).get("include_usage")) or not body.get("stream")
        self.sends_usage = is_usage_requested if script.usage is None else script.usage

    def build_envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def build_usage(self, input_key: str = "prompt_tokens", output_key: str = "completion_tokens") -> dict[str, Any]:
        prompt_tokens = sum(len(read_text(message).split()) for message in self.messages)
        output_tokens = self.record.tokens_sent
        token_usage: dict[str, Any] = {
            input_key: prompt_tokens,
            output_key: output_tokens,
            "total_tokens": prompt_tokens + output_tokens,
        }
        if self.script.cached_tokens is not None:
            token_usage[f"{input_key}_details"] = {"cached_tokens": self.script.cached_tokens}
        if self.script.reasoning_tokens is not None:
            token_usage[f"{output_key}_details"] = {"reasoning_tokens": self.script.reasoning_tokens}
        return token_usage

    async def reply_with_document(self) -> web.Response:
        """Reply with one document, after the time that an equivalent stream would take."""
        await asyncio.sleep(self.script.first_delay_s)
        for index, _ in enumerate(self.chunks):
            await self.play_fault(index)
            self.record.tokens_sent += 1
            if index < len(self.chunks) - 1 and self.script.delay_s:
                await asyncio.sleep(self.script.delay_s)
        await self.play_fault(len(self.chunks), all_sent=True)
        self.stats.end_request(self.record, "finished")
        if self.script.garbage_after_tokens is not None:
            return web.Response(text="{this is not JSON", content_type="application/json")
        message = {"role": "assistant", "content": "".join(chunk for chunk in self.chunks if isinstance(chunk, str))}
        if self.finish == "tool_calls":
            message["tool_calls"] = split_tool_calls(self.script.tool_calls, unsplit_tool_calls=True)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        document = self.build_envelope("chat.completion", [choice])
        return web.json_response(document | ({"usage": self.build_usage()} if self.sends_usage else {}))

    async def reply_with_stream(self) -> web.StreamResponse:
        """Reply with server-sent events: one write per chunk, each at its scheduled time."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self.request)
        prefix, suffix = self.build_chunk_parts()
        padding = "x" * self.script.padding
        clock = asyncio.get_running_loop().time
        due_at = clock() + self.script.first_delay_s
        await asyncio.sleep(self.script.first_delay_s)
        for index, chunk in enumerate(self.chunks):
            await self.play_fault(index, response)
            if index == 0:
                await response.write(self.build_delta_event({"role": "assistant", "content": ""}))
                await self.send_reasoning(response)
            self.record.tokens_sent += 1
            if isinstance(chunk, str) and self.script.logprobs:
                await response.write(self.build_delta_event({"content": chunk}, logprobs=build_logprobs(chunk)))
            elif isinstance(chunk, str):
                await response.write(prefix + json.dumps(chunk + padding).encode() + suffix)
            else:
                await response.write(self.build_delta_event({"tool_calls": [chunk]}))
            due_at += self.script.delay_s
            if index < len(self.chunks) - 1:
                await asyncio.sleep(max(0.0, due_at - clock()))
        await self.play_fault(len(self.chunks), response, all_sent=True)
        *pieces, last_piece = self.build_closing_events() or [b""]
        for piece in pieces:
            await response.write(piece)
        self.stats.end_request(self.record, "finished")
        await response.write_eof(last_piece)
        return response

    def build_chunk_parts(self) -> tuple[bytes, bytes]:
        """Return the bytes of a chunk before and after its token, which are equal in all chunks."""
        prefix, suffix = self.build_delta_event({"content": "\0"}).split(json.dumps("\0").encode())
        return prefix, suffix

    async def send_reasoning(self, response: web.StreamResponse) -> None:
        for index, word in enumerate(split_words(self.script.reasoning)):
            await self.hang_in_reasoning(index)
            await response.write(self.build_delta_event({"reasoning_content": word}))

    async def hang_in_reasoning(self, word_count: int) -> None:
        """Wait forever if the script requires it after this number of words of reasoning."""
        if word_count == self.script.hang_after_reasoning_words:
            await asyncio.Event().wait()

    def build_delta_event(self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: Any = None) -> bytes:
        logprobs_field = None if logprobs is None else {"content": logprobs}
        choice = {"index": 0, "delta": delta, "logprobs": logprobs_field, "finish_reason": finish_reason}
        return build_sse_event(self.build_envelope("chat.completion.chunk", [choice]))

    def build_closing_events(self) -> list[bytes]:
        pieces = [self.build_delta_event({"refusal": word}) for word in split_words(self.script.refusal)]
        if self.script.annotations:
            pieces.append(self.build_delta_event({"annotations": list(self.script.annotations)}))
        pieces += [self.build_delta_event({}, self.finish)] if self.finish else []
        if self.sends_usage:
            pieces.append(
                build_sse_event(self.build_envelope("chat.completion.chunk", []) | {"usage": self.build_usage()})
            )
        return [*pieces, b"data: [DONE]\n\n"] if self.script.sends_done else pieces

    async def play_fault(
        self, token_count: int, response: web.StreamResponse | None = None, *, all_sent: bool = False
    ) -> None:
        """Play the fault that is due after this number of tokens, if there is one.

        Args:
            all_sent: whether all tokens have been sent, so that faults scheduled for a higher number are due, too.
        """

        def is_due(scheduled_count: int | None) -> bool:
            if scheduled_count is None:
                return False
            return token_count == scheduled_count or (all_sent and token_count < scheduled_count)

        if response is not None and is_due(self.script.garbage_after_tokens):
            await response.write(b"data: {this is not JSON\n\n")
        if is_due(self.script.drop_after_tokens):
            await self.drop()
        if is_due(self.script.hang_after_tokens):
            await asyncio.Event().wait()

    async def drop(self) -> None:
        """Close the connection to the client after the delivery of all written data."""
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        sock = transport.get_extra_info("socket")
        while transport.get_write_buffer_size() or count_unacknowledged_bytes(sock):
            await asyncio.sleep(0.001)
        self.stats.end_request(self.record, "dropped")
        if self.script.drop_how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()
        await asyncio.Event().wait()  # the lost connection cancels this handler


def count_unacknowledged_bytes(sock: socket.socket) -> int:
    """Count the bytes in the send queue of the kernel, which a reset would discard."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return count


def build_sse_event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def error_reply(status: int, message: str, code: str | None = None, retry_after: float | None = None) -> web.Response:
    error_type = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    body = {"error": {"message": message, "type": error_type, "param": None, "code": code}}
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return web.json_response(body, status=status, headers=headers)


def create_route(
    reply_class: type[ChatReply], conversation_field: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Create the route handler of an API.

    Args:
        reply_class: class that replies according to the script.
        conversation_field: name of the field of the request body that contains the conversation.
    """

    async def route(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            messages = [message for message in body[conversation_field] if message.get("role") or message.get("output")]
            script = read_script(messages, str(body.get("model")))
        except InvalidScriptError as error:
            return error_reply(400, str(error), "bad_script")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return error_reply(400, f"not a request with {conversation_field}: {error!r}")
        return await play_script(reply_class, request, body | {"messages": messages}, script, body)

    return route


async def play_script(
    reply_class: type[ChatReply],
    request: web.Request,
    body: dict[str, Any],
    script: Script,
    original_body: dict[str, Any],
) -> web.StreamResponse:
    """Record the request with its original body, and reply according to its script."""
    stats = request.app[STATS]
    record = stats.begin_request(script.tag, original_body)
    if script.fail_times is not None and len(stats.by_tag[script.tag]) > script.fail_times:
        script = remove_faults(script)
    try:
        if script.status is not None:
            await asyncio.sleep(script.first_delay_s)
            stats.end_request(record, "errored")
            return error_reply(script.status, script.message, script.code, script.retry_after)
        context_error = context.build_context_error(script, body)
        if context_error is not None:
            stats.end_request(record, "errored")
            return context_error
        if script.prefix_behavior == "refuse" and body["messages"][-1].get("role") == "assistant":
            stats.end_request(record, "errored")
            return error_reply(400, "The last message must not be a message of the assistant.")
        reply = reply_class(request, body, script, record)
        return await (reply.reply_with_stream() if body.get("stream") else reply.reply_with_document())
    except (asyncio.CancelledError, ConnectionResetError):
        stats.end_request(record, "client_closed")
        raise asyncio.CancelledError from None  # aiohttp then drops the connection without logging an error
    finally:
        stats.end_request(record, "errored")


async def list_models(_request: web.Request) -> web.Response:
    return web.json_response(
        {
            "object": "list",
            "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}],
        }
    )


async def report_health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def report_stats(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATS].report(request.query.get("tag")))


async def reset_stats(request: web.Request) -> web.Response:
    request.app[STATS].reset()
    return web.json_response({"status": "ok"})


async def serve(port: int, responses_reply_class: type[ChatReply]) -> int:
    """Listen on a port (0: any free port) and return it; requests are served until the event loop stops.

    Args:
        responses_reply_class: class that replies in the Responses API.
    """
    application = web.Application(client_max_size=BODY_LIMIT)
    application[STATS] = Stats()
    application[context.WINDOW] = {}
    application.add_routes(context.ROUTES)
    application.router.add_post("/v1/chat/completions", create_route(ChatReply, "messages"))
    application.router.add_post("/v1/responses", create_route(responses_reply_class, "input"))
    application.router.add_get("/v1/models", list_models)
    application.router.add_get("/health", report_health)
    application.router.add_get("/stats", report_stats)
    application.router.add_post("/reset", reset_stats)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096, reuse_address=True).start()
    except OSError:
        await runner.cleanup()
        raise
    return int(runner.addresses[0][1])

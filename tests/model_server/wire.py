"""The bytes that model servers of each API send, for scripts that then corrupt them."""

import json
from dataclasses import dataclass
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\n"
SSE = HEAD + b"Content-Type: text/event-stream\r\n\r\n"  # the end of the connection ends the body
JSON = HEAD + b"Content-Type: application/json\r\n\r\n"


def data(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def status(line: str, body: bytes = b"", *headers: str) -> bytes:
    """A complete reply with another status."""
    lines = [f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sized(body: bytes, length: int | None = None, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Chat:
    """Events of the Chat Completions API."""

    name = "chat_completions"
    done = b"data: [DONE]\n\n"

    def raw(self, choice: Any, **fields: Any) -> bytes:
        return data({"id": "c", "object": "chat.completion.chunk", "choices": choice, **fields})

    def delta(self, **delta: Any) -> bytes:
        return self.raw([{"index": 0, "delta": delta, "finish_reason": None}])

    def text(self, text: str) -> bytes:
        return self.delta(content=text)

    def empty(self) -> bytes:
        return self.raw([]) + self.delta() + self.delta(content=None, tool_calls=None) + self.raw(None, usage=None)

    def call(self, n: int, name: str | None = "f") -> bytes:
        function = {"arguments": "{}"} | ({} if name is None else {"name": name})
        return self.delta(tool_calls=[{"index": n, "id": f"call_{n}", "type": "function", "function": function}])

    def end(self, reason: str = "stop", usage: Any = None) -> bytes:
        choice = [{"index": 0, "delta": {}, "finish_reason": reason}]
        return self.raw(choice, **({} if usage is None else {"usage": usage}))

    def gives_up(self) -> bytes:
        return self.end("error")

    def usage(self, inputs: Any, outputs: Any) -> dict[str, Any]:
        return {"prompt_tokens": inputs, "completion_tokens": outputs}

    def whole(self, text: str, usage: Any = None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


class Responses:
    """Events of the Responses API."""

    name = "responses"
    done = b""

    def text(self, text: str) -> bytes:
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        return data({"type": "response.output_text.delta", **place, "delta": text, "logprobs": []})

    def empty(self) -> bytes:
        added = {"type": "response.output_item.added", "output_index": 0, "item": None}
        return data({"type": "response.in_progress", "response": None}) + data(added) + data({"type": "keepalive"})

    def call(self, n: int, name: str | None = "f") -> bytes:
        item = {"type": "function_call", "call_id": f"call_{n}", "name": name, "arguments": "{}"}
        return data({"type": "response.output_item.done", "output_index": n, "item": item})

    def end(self, usage: Any = None) -> bytes:
        return data({"type": "response.completed", "response": {"status": "completed", "output": [], "usage": usage}})

    def gives_up(self) -> bytes:
        details = {"incomplete_details": {"reason": "error"}}
        return data({"type": "response.incomplete", "response": {"status": "incomplete", **details}})

    def usage(self, inputs: Any, outputs: Any) -> dict[str, Any]:
        return {"input_tokens": inputs, "output_tokens": outputs}

    def whole(self, text: str, usage: Any = None) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "role": "assistant", "content": [part]}
        return {"object": "response", "status": "completed", "output": [message], "usage": usage}


Api = Chat | Responses


@dataclass(frozen=True)
class End:
    """The expected end of a response, and the text that remains."""

    status: str
    text: str = ""
    code: str | None = None
    says: str = ""
    asked: int | None = 1  # number of requests; None: as many as time allowed


def completes(text: str = "Hello") -> End:
    return End("completed", text)


def fails(says: str, text: str = "", code: str = "server_error", asked: int | None = 1) -> End:
    return End("failed", text, code, says, asked)

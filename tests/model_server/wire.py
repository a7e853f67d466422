"""The bytes that a model server sends in each API, from which the scripts of the corpus are built."""

import json
from dataclasses import dataclass
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\n"
SSE = HEAD + b"Content-Type: text/event-stream\r\n\r\n"  # the body ends with the connection
JSON = HEAD + b"Content-Type: application/json\r\n\r\n"


def data_line(payload: Any) -> bytes:
    """Return a server-sent event with the payload as JSON."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def error_reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a complete reply with a status other than 200."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reply(body: bytes, content_length: int | None = None, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if content_length is None else content_length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Chat:
    """Serialized events of the Chat Completions API."""

    name = "chat_completions"
    terminator = b"data: [DONE]\n\n"

    def chunk(self, choices: Any, **fields: Any) -> bytes:
        return data_line({"id": "c", "object": "chat.completion.chunk", "choices": choices, **fields})

    def delta(self, **delta: Any) -> bytes:
        return self.chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def text_event(self, text: str) -> bytes:
        return self.delta(content=text)

    def empty_events(self) -> bytes:
        return self.chunk([]) + self.delta() + self.delta(content=None, tool_calls=None) + self.chunk(None, usage=None)

    def tool_call(self, index: int, name: str | None = "f") -> bytes:
        function = {"arguments": "{}"} | ({} if name is None else {"name": name})
        return self.delta(
            tool_calls=[{"index": index, "id": f"call_{index}", "type": "function", "function": function}]
        )

    def end(self, reason: str = "stop", usage: Any = None) -> bytes:
        choice = [{"index": 0, "delta": {}, "finish_reason": reason}]
        return self.chunk(choice, **({} if usage is None else {"usage": usage}))

    def failure_end(self) -> bytes:
        return self.end("error")

    def usage(self, inputs: Any, outputs: Any) -> dict[str, Any]:
        return {"prompt_tokens": inputs, "completion_tokens": outputs}

    def document(self, text: str, usage: Any = None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


class Responses:
    """Serialized events of the Responses API."""

    name = "responses"
    terminator = b""

    def text_event(self, text: str) -> bytes:
        location = {"item_id": "m", "output_index": 0, "content_index": 0}
        return data_line({"type": "response.output_text.delta", **location, "delta": text, "logprobs": []})

    def empty_events(self) -> bytes:
        item_added = {"type": "response.output_item.added", "output_index": 0, "item": None}
        return (
            data_line({"type": "response.in_progress", "response": None})
            + data_line(item_added)
            + data_line({"type": "keepalive"})
        )

    def tool_call(self, index: int, name: str | None = "f") -> bytes:
        item = {"type": "function_call", "call_id": f"call_{index}", "name": name, "arguments": "{}"}
        return data_line({"type": "response.output_item.done", "output_index": index, "item": item})

    def end(self, usage: Any = None) -> bytes:
        return data_line(
            {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": usage}}
        )

    def failure_end(self) -> bytes:
        details = {"incomplete_details": {"reason": "error"}}
        return data_line({"type": "response.incomplete", "response": {"status": "incomplete", **details}})

    def usage(self, inputs: Any, outputs: Any) -> dict[str, Any]:
        return {"input_tokens": inputs, "output_tokens": outputs}

    def document(self, text: str, usage: Any = None) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "role": "assistant", "content": [part]}
        return {"object": "response", "status": "completed", "output": [message], "usage": usage}


Api = Chat | Responses


@dataclass(frozen=True)
class ExpectedEnd:
    """The expected end of a response.

    Args:
        text: the expected output text.
        code: the expected error code.
        message: a part of the expected error message.
        requests: the expected number of requests to the model server; None: any number.
    """

    status: str
    text: str = ""
    code: str | None = None
    message: str = ""
    requests: int | None = 1


def success(text: str = "Hello") -> ExpectedEnd:
    """Expect a completed response with this text."""
    return ExpectedEnd("completed", text)


def failure(message: str, text: str = "", code: str = "server_error", requests: int | None = 1) -> ExpectedEnd:
    """Expect a failed response with this part of the error message and this partial output."""
    return ExpectedEnd("failed", text, code, message, requests)

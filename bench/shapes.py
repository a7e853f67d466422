"""Builds the scripted responses of the model server; the name of the requested model selects the shape."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

_NAME = re.compile(r"(\d+)-tokens-(?:at-once|every-(\d+)ms)(-then-hang)?\Z")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
# Occurs exactly once in every token and nowhere else, so that tokens can be counted even if several arrive together.
MARKER = "~"
_TOKEN_TEXTS = ("every~ ", "token~ ", "is~ ", "a~ ", "word~ ", "of~ ", "some~ ", "length~ ")


@dataclass(frozen=True)
class Shape:
    """The bytes and the timing of a response.

    Args:
        tokens: number of tokens.
        pieces: the bytes of the tokens, one token per piece or all of them in one piece; each piece is one write.
        head: bytes written with the first piece.
        tail: bytes written with the last piece; empty if the response never ends.
        interval_s: seconds between two pieces; 0 if all tokens are in one piece.
    """

    tokens: int
    pieces: tuple[bytes, ...]
    head: bytes
    tail: bytes
    interval_s: float

    @property
    def is_endless(self) -> bool:
        return not self.tail


def find_shape(name: str) -> Shape | None:
    """Build the shape for a name such as `20-tokens-at-once`, `50-tokens-every-200ms` or `1-tokens-at-once-then-hang`.

    Returns:
        None if `name` is not the name of a shape.
    """
    match = _NAME.match(name)
    if match is None:
        return None
    count, interval_ms, is_endless = int(match[1]), int(match[2] or 0), bool(match[3])
    token_events = [_delta_event(name, {"content": _TOKEN_TEXTS[n % len(_TOKEN_TEXTS)]}) for n in range(count)]
    return Shape(
        tokens=count,
        pieces=tuple(token_events) if interval_ms else (b"".join(token_events),),
        head=_HEAD + _delta_event(name, {"role": "assistant"}),
        tail=b"" if is_endless else _final_events(name, count),
        interval_s=interval_ms / 1000,
    )


def chat_request(model: str, tag: str = "") -> dict[str, Any]:
    """Build the body of a Chat Completions request like those that a worker sends."""
    content = f"Say something. {tag}".rstrip()
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": content}]}


def _final_events(model: str, count: int) -> bytes:
    usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": 8 + count}
    return (
        _delta_event(model, {}, finish_reason="stop")
        + _build_event({"choices": [], "usage": usage} | _common_fields(model))
        + _frame_chunk(b"data: [DONE]\n\n")
        + _LAST_CHUNK
    )


def _delta_event(model: str, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _build_event(_common_fields(model) | {"choices": [choice]})


def _common_fields(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}


def _build_event(event: dict[str, Any]) -> bytes:
    return _frame_chunk(b"data: " + orjson.dumps(event) + b"\n\n")


def _frame_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)

"""The script of a request: its fields, and the tokens and tool calls that result from it."""

import hashlib
import json
import math
import re
import uuid
from dataclasses import dataclass, fields, replace
from typing import Any

from worker.models.continuation import PROMPT

# A model whose server starts a new answer instead of continuing a partial answer.
STARTS_OVER_MODEL = "starts-over"
NUMBER = (int, float)
FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "tag": (str,),
    "tokens": (int,),
    "padding": (int,),
    "text": (str,),
    "tool_calls": (list,),
    "unsplit_tool_calls": (bool,),
    "first_delay_s": NUMBER,
    "delay_s": NUMBER,
    "finish": (str, type(None)),
    "usage": (bool,),
    "sends_done": (bool,),
    "status": (int,),
    "message": (str,),
    "code": (str,),
    "retry_after": NUMBER,
    "fail_times": (int,),
    "drop_after_tokens": (int,),
    "drop_how": (str,),
    "hang_after_tokens": (int,),
    "hang_after_reasoning_words": (int,),
    "garbage_after_tokens": (int,),
    "prefix_behavior": (str,),
    "reasoning": (str,),
    "summary": (list,),
    "refusal": (str,),
    "logprobs": (bool,),
    "annotations": (list,),
    "encrypted": (str,),
    "cached_tokens": (int,),
    "reasoning_tokens": (int,),
    "context": (int,),
    "context_error": (str,),
    "tokenizer": (str,),
}
FIELD_VALUES: dict[str, tuple[str | None, ...]] = {
    "finish": ("stop", "length", "content_filter", "tool_calls", "abort", None),
    "drop_how": ("close", "reset"),
    "prefix_behavior": ("continue", "repeat", "refuse"),
    "context_error": ("vllm", "llama.cpp", "no numbers"),
    "tokenizer": ("vllm", "llama.cpp"),
}
FAULTS = frozenset(
    {"status", "drop_after_tokens", "hang_after_tokens", "hang_after_reasoning_words", "garbage_after_tokens"}
)
ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class InvalidScriptError(ValueError):
    """A script is invalid. The error reveals mistakes in the scripts of tests, which would otherwise prove nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """The output and the faults of one request."""

    tag: str  # groups the records of requests
    tokens: int | None = None  # number of generated tokens of the output
    padding: int = 0  # number of characters added to each streamed token; chat completions only
    text: str | None = None  # the output, if `tokens` is None
    tool_calls: tuple[dict[str, str], ...] = ()  # sent after the text; each has "name", "arguments" and optionally "id"
    unsplit_tool_calls: bool = False  # whether each tool call is sent in one piece, as some servers do
    first_delay_s: float = 0.0  # delay before the first token
    delay_s: float = 0.0  # delay between two tokens
    finish: str | None = "stop"  # the finish reason; None: the server sends no finish reason
    usage: bool | None = None  # whether the server sends usage; None: only if the request asks for usage
    sends_done: bool = True  # whether a stream ends with `[DONE]`; chat completions only
    status: int | None = None  # HTTP status of an error reply instead of an output
    message: str = "This is a scripted error."  # message of the error reply
    code: str | None = None  # error code of the error reply
    retry_after: float | None = None  # header `Retry-After` of the error reply, in seconds
    fail_times: int | None = None  # number of first requests with this tag that have the faults; None: all requests
    drop_after_tokens: int | None = None  # number of tokens before the connection is dropped
    drop_how: str = "close"  # how the connection is dropped: "close" or "reset"
    hang_after_tokens: int | None = None  # number of tokens before the server stops sending
    hang_after_reasoning_words: int | None = None  # like `hang_after_tokens`; chat completions only
    garbage_after_tokens: int | None = None  # number of tokens before the server sends malformed JSON
    prefix_behavior: str = "continue"  # reaction to a request that ends with a part of the output
    reasoning: str = ""  # reasoning text, sent before the text
    summary: tuple[str, ...] = ()  # parts of the reasoning summary, if the API supports summaries
    refusal: str = ""  # refusal text, sent after the text
    logprobs: bool = False  # whether the server sends the log probability of each token
    annotations: tuple[dict[str, Any], ...] = ()  # annotations of the text, sent after it
    encrypted: str | None = None  # encrypted reasoning, if the API supports it
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    context: int | None = None  # context window: maximum number of words of the messages plus the output limit
    context_error: str = "vllm"  # the kind of the error reply to a longer request
    tokenizer: str | None = None  # the server whose tokenization endpoints are imitated


def check_fields(script_fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields unchanged; raise `InvalidScriptError` for an unknown field or an invalid value."""
    for name, value in script_fields.items():
        if name not in FIELD_TYPES:
            raise InvalidScriptError(f"{name!r} is not a script field; the fields are: {', '.join(FIELD_TYPES)}")
        is_unexpected_bool = isinstance(value, bool) and bool not in FIELD_TYPES[name]
        if is_unexpected_bool or not isinstance(value, FIELD_TYPES[name]):
            raise InvalidScriptError(f"script field {name!r} cannot be {value!r}")
        if name in FIELD_VALUES and value not in FIELD_VALUES[name]:
            raise InvalidScriptError(f"script field {name!r} is one of {FIELD_VALUES[name]}, not {value!r}")
        if isinstance(value, NUMBER) and value < 0:
            raise InvalidScriptError(f"script field {name!r} cannot be negative: {value!r}")
    for call in script_fields.get("tool_calls", ()):
        if not is_tool_call(call):
            raise InvalidScriptError(f"a tool call has a name, arguments and optionally an id, all strings: {call!r}")
    if "tokens" in script_fields and "text" in script_fields:
        raise InvalidScriptError("a script has 'tokens' or 'text', not both")
    if "retry_after" in script_fields and "status" not in script_fields:
        raise InvalidScriptError("'retry_after' needs a 'status'")
    if "fail_times" in script_fields and not script_fields.keys() & FAULTS:
        raise InvalidScriptError("'fail_times' needs a fault to repeat")
    return script_fields


def read_script(messages: list[dict[str, Any]], upstream_model: str = "") -> Script:
    """Read the script from the last user message; if it is not a script, the output is `You said: …`.

    Args:
        upstream_model: the requested model; a request for `STARTS_OVER_MODEL` never gets a continuation.
    """
    user_text = next((read_text(message) for message in reversed(messages) if message.get("role") == "user"), "")
    script = _read_script(user_text)
    return replace(script, prefix_behavior="repeat") if upstream_model == STARTS_OVER_MODEL else script


def _read_script(user_text: str) -> Script:
    if user_text == PROMPT:
        return Script(tag="continuation probe", text=", ".join(str(number) for number in range(1, 21)))
    tag = hashlib.sha1(user_text.encode()).hexdigest()
    try:
        script_fields = json.loads(user_text)
    except ValueError:
        script_fields = None
    if not isinstance(script_fields, dict):
        return Script(tag=tag, text=f"You said: {user_text}")
    calls = tuple(check_fields(script_fields).pop("tool_calls", ()))
    if calls:
        script_fields = {"finish": "tool_calls"} | script_fields
    elif not script_fields.keys() & {"text", "tokens", "refusal"}:
        script_fields = {"text": f"You said: {user_text}"} | script_fields
    return Script(**{"tag": tag, "tool_calls": calls} | script_fields)


def is_tool_call(call: Any) -> bool:
    if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys() <= {"name", "arguments", "id"}:
        return False
    return all(isinstance(value, str) for value in call.values())


def remove_faults(script: Script) -> Script:
    """Return the script without its faults, for the requests of a tag after `fail_times`."""
    values = {script_field.name: getattr(script, script_field.name) for script_field in fields(script)}
    return Script(**values | dict.fromkeys(FAULTS))


def read_text(message: dict[str, Any]) -> str:
    """Return the text of a message; the content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def split_output(script: Script, messages: list[dict[str, Any]]) -> list[str]:
    """Split the output into tokens, without the beginning that the request already contains."""
    prefix = read_text(messages[-1]) if messages and messages[-1].get("role") == "assistant" else ""
    continues_prefix = bool(prefix) and script.prefix_behavior == "continue"
    tokens = None if script.tokens is None else [f"tok{index} " for index in range(script.tokens)]
    if tokens is not None and not continues_prefix:
        return tokens
    answer = (script.text or "") if tokens is None else "".join(tokens)
    return split_words(answer.removeprefix(prefix) if continues_prefix else answer)


def split_words(text: str) -> list[str]:
    """Split a text into words, each with the adjacent whitespace."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def build_logprobs(token: str) -> list[dict[str, Any]]:
    """Return the log probability of a token in the format of a server, with one alternative."""
    logprob = {"token": token, "bytes": list(token.encode()), "logprob": -0.25}
    return [logprob | {"top_logprobs": [logprob, {"token": "no", "bytes": None, "logprob": -1.5}]}]


def split_tool_calls(calls: tuple[dict[str, str], ...], *, unsplit_tool_calls: bool) -> list[dict[str, Any]]:
    """Split tool calls into pieces of a stream: first the name, then the arguments in up to three pieces.

    With `unsplit_tool_calls`, each tool call is one piece.
    """
    pieces: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        arguments = call["arguments"]
        piece_length = max(1, math.ceil(len(arguments) / 3))
        starts = range(0, len(arguments), piece_length)
        first_arguments = arguments if unsplit_tool_calls else ""
        later_arguments = [] if unsplit_tool_calls else [arguments[start : start + piece_length] for start in starts]
        header = {"id": call.get("id", f"call_{uuid.uuid4().hex}"), "type": "function"}
        pieces.append({"index": index, **header, "function": {"name": call["name"], "arguments": first_arguments}})
        pieces += [{"index": index, "function": {"arguments": piece}} for piece in later_arguments]
    return pieces

"""The script of one request: its fields, the resulting output and its chunks."""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass, fields
from typing import Any

NUMBER = (int, float)
KINDS: dict[str, tuple[type, ...]] = {
    "tag": (str,),
    "tokens": (int,),
    "text": (str,),
    "tool_calls": (list,),
    "whole": (bool,),
    "first_delay_s": NUMBER,
    "delay_s": NUMBER,
    "finish": (str, type(None)),
    "usage": (bool,),
    "done": (bool,),
    "status": (int,),
    "message": (str,),
    "code": (str,),
    "retry_after": NUMBER,
    "fail_times": (int,),
    "drop_after": (int,),
    "drop_how": (str,),
    "hang_after": (int,),
    "hang_in_thought": (int,),
    "garbage_after": (int,),
    "prefix": (str,),
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
ONE_OF: dict[str, tuple[str | None, ...]] = {
    "finish": ("stop", "length", "content_filter", "tool_calls", "abort", None),
    "drop_how": ("close", "reset"),
    "prefix": ("continue", "repeat", "refuse"),
    "context_error": ("vllm", "llama.cpp", "no numbers"),
    "tokenizer": ("vllm", "llama.cpp"),
}
FAULTS = frozenset({"status", "drop_after", "hang_after", "hang_in_thought", "garbage_after"})
ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class BadScript(ValueError):
    """A script that cannot be played: a clear 400 is better than a test that proves nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    tag: str
    tokens: int | None = None
    text: str | None = None
    tool_calls: tuple[dict[str, str], ...] = ()  # after the text: {"name", "arguments", "id"?} each
    whole: bool = False  # each call in one piece, as some servers send them
    first_delay_s: float = 0.0
    delay_s: float = 0.0
    finish: str | None = "stop"
    usage: bool | None = None  # None: as the request asks
    done: bool = True
    status: int | None = None
    message: str = "The script says so."
    code: str | None = None
    retry_after: float | None = None
    fail_times: int | None = None  # None: every time
    drop_after: int | None = None
    drop_how: str = "close"
    hang_after: int | None = None
    hang_in_thought: int | None = None  # after this many words of the reasoning; chat completions only
    garbage_after: int | None = None
    prefix: str = "continue"
    reasoning: str = ""  # before the text
    summary: tuple[str, ...] = ()  # of the reasoning, if the API supports it
    refusal: str = ""  # after the text
    logprobs: bool = False  # of each token
    annotations: tuple[dict[str, Any], ...] = ()  # of the text, at its end
    encrypted: str | None = None  # the reasoning for the next turn, if the API supports it
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    context: int | None = None  # total words of all messages and of the longest output
    context_error: str = "vllm"
    tokenizer: str | None = None


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return the same fields; raise `BadScript` for an unknown field or a wrong type."""
    for name, value in given.items():
        if name not in KINDS:
            raise BadScript(f"no script field is called {name!r}; there are: {', '.join(KINDS)}")
        strange_bool = isinstance(value, bool) and bool not in KINDS[name]
        if strange_bool or not isinstance(value, KINDS[name]):
            raise BadScript(f"script field {name!r} cannot be {value!r}")
        if name in ONE_OF and value not in ONE_OF[name]:
            raise BadScript(f"script field {name!r} is one of {ONE_OF[name]}, not {value!r}")
        if isinstance(value, NUMBER) and value < 0:
            raise BadScript(f"script field {name!r} cannot be negative: {value!r}")
    for call in given.get("tool_calls", ()):
        if not is_call(call):
            raise BadScript(f"a tool call has a name, arguments and perhaps an id, all texts: {call!r}")
    if "tokens" in given and "text" in given:
        raise BadScript("a script has 'tokens' or 'text', not both")
    if "retry_after" in given and "status" not in given:
        raise BadScript("'retry_after' needs a 'status'")
    if "fail_times" in given and not given.keys() & FAULTS:
        raise BadScript("'fail_times' needs a fault to repeat")
    return given


def script_for(messages: list[dict[str, Any]]) -> Script:
    """Read the script from the last user message; any other text gets the output `You said: …`."""
    said = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
    tag = hashlib.sha1(said.encode()).hexdigest()
    try:
        given = json.loads(said)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return Script(tag=tag, text=f"You said: {said}")
    calls = tuple(checked(given).pop("tool_calls", ()))
    if calls:
        given = {"finish": "tool_calls"} | given
    elif not given.keys() & {"text", "tokens", "refusal"}:
        given = {"text": f"You said: {said}"} | given
    return Script(**{"tag": tag, "tool_calls": calls} | given)


def is_call(call: Any) -> bool:
    if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys() <= {"name", "arguments", "id"}:
        return False
    return all(isinstance(value, str) for value in call.values())


def healed(script: Script) -> Script:
    """The script without its faults, for later requests of a tag after `fail_times`."""
    whole = {f.name: getattr(script, f.name) for f in fields(script)}
    return Script(**whole | dict.fromkeys(FAULTS))


def text_of(message: dict[str, Any]) -> str:
    """Join the text of a message whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def chunks_of(script: Script, messages: list[dict[str, Any]]) -> list[str]:
    """Split the output into tokens; a request that ends with the beginning of the output gets the rest."""
    given = text_of(messages[-1]) if messages and messages[-1].get("role") == "assistant" else ""
    continuing = bool(given) and script.prefix == "continue"
    tokens = None if script.tokens is None else [f"tok{n} " for n in range(script.tokens)]
    if tokens is not None and not continuing:
        return tokens
    answer = (script.text or "") if tokens is None else "".join(tokens)
    return words_of(answer.removeprefix(given) if continuing else answer)


def words_of(text: str) -> list[str]:
    """Split a text into words, each with the adjacent white space."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def logprobs_of(token: str) -> list[dict[str, Any]]:
    """The log probability of a token as a server reports it, with one alternative."""
    found = {"token": token, "bytes": list(token.encode()), "logprob": -0.25}
    return [found | {"top_logprobs": [found, {"token": "no", "bytes": None, "logprob": -1.5}]}]


def pieces_of(calls: tuple[dict[str, str], ...], *, whole: bool) -> list[dict[str, Any]]:
    """Split tool calls into stream pieces: first the name, then the arguments in up to three pieces."""
    pieces: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        arguments = call["arguments"]
        third = max(1, -(-len(arguments) // 3))
        cut = [arguments] if whole else ["", *(arguments[at : at + third] for at in range(0, len(arguments), third))]
        named = {"id": call.get("id", f"call_{uuid.uuid4().hex}"), "type": "function"}
        first = {"index": index, **named, "function": {"name": call["name"], "arguments": cut[0]}}
        pieces += [first, *({"index": index, "function": {"arguments": piece}} for piece in cut[1:])]
    return pieces

"""Identifiers: a prefix, the time of their making, and enough chance to be unguessable."""

import os
import re
import secrets
import time
from collections import deque

_RESPONSE = re.compile(r"resp_[0-9a-f]{48}\Z")
_PROMPT = re.compile(r"pmpt_[0-9a-f]{48}\Z")
_KEY = re.compile(r"key_[0-9a-f]{48}\Z")

_BYTES = 18  # bytes of chance in an ID
_AT_ONCE = 64
# Chance that was asked for and not used yet. To ask the kernel is to hand the interpreter to another thread, each time.
_ready: deque[bytes] = deque()
os.register_at_fork(after_in_child=_ready.clear)


def new(prefix: str) -> str:
    """A new ID such as `resp_…`: 48 hex digits, 12 of milliseconds and 144 random bits.

    The leading time keeps neighbours together in the index; it orders nothing.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_chance().hex()}"


def _chance() -> bytes:
    """Bytes that nobody else has had."""
    try:
        return _ready.pop()
    except IndexError:
        more = secrets.token_bytes(_BYTES * _AT_ONCE)
        _ready.extend(more[at : at + _BYTES] for at in range(_BYTES, len(more), _BYTES))
        return more[:_BYTES]


def is_response_id(text: str) -> bool:
    """Whether `text` could be the ID of a response of ours; anything else is unknown without a query."""
    return _RESPONSE.match(text) is not None


def is_prompt_id(text: str) -> bool:
    """Whether `text` could be the ID of a prompt of ours."""
    return _PROMPT.match(text) is not None


def is_key_id(text: str) -> bool:
    """Whether `text` could be the ID of a key of ours."""
    return _KEY.match(text) is not None

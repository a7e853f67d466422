"""Identifiers: a prefix, the time of their making, and enough chance to be unguessable."""

import re
import secrets
import time

_RESPONSE = re.compile(r"resp_[0-9a-f]{48}\Z")
_PROMPT = re.compile(r"pmpt_[0-9a-f]{48}\Z")
_KEY = re.compile(r"key_[0-9a-f]{48}\Z")


def new(prefix: str) -> str:
    """A new ID such as `resp_…`: 48 hex digits, 12 of milliseconds and 144 random bits.

    The leading time keeps neighbours together in the index; it orders nothing.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(18)}"


def is_response_id(text: str) -> bool:
    """Whether `text` could be the ID of a response of ours; anything else is unknown without a query."""
    return _RESPONSE.match(text) is not None


def is_prompt_id(text: str) -> bool:
    """Whether `text` could be the ID of a prompt of ours."""
    return _PROMPT.match(text) is not None


def is_key_id(text: str) -> bool:
    """Whether `text` could be the ID of a key of ours."""
    return _KEY.match(text) is not None

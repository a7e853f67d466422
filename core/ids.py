"""IDs that consist of a prefix, the creation time and enough random bits to be unguessable."""

import os
import re
import secrets
import time
from collections import deque

_RESPONSE_ID = re.compile(r"resp_[0-9a-f]{48}\Z")
_PROMPT_ID = re.compile(r"pmpt_[0-9a-f]{48}\Z")
_KEY_ID = re.compile(r"key_[0-9a-f]{48}\Z")

_ID_BYTES = 18  # random bytes per ID
_IDS_PER_FETCH = 64
# Pre-fetched random bytes: each `urandom` call releases the GIL, so we fetch the bytes of 64 IDs in one call.
_random_pool: deque[bytes] = deque()
os.register_at_fork(after_in_child=_random_pool.clear)


def new_id(prefix: str) -> str:
    """Return a new ID such as `resp_…`: 48 hex digits, 12 for the time in milliseconds and 36 for 144 random bits.

    The leading timestamp gives new rows adjacent index entries; nothing relies on it for ordering.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_take_random_bytes().hex()}"


def _take_random_bytes() -> bytes:
    """Return random bytes that have not been used before."""
    try:
        return _random_pool.pop()
    except IndexError:
        block = secrets.token_bytes(_ID_BYTES * _IDS_PER_FETCH)
        _random_pool.extend(block[start : start + _ID_BYTES] for start in range(_ID_BYTES, len(block), _ID_BYTES))
        return block[:_ID_BYTES]


def is_response_id(text: str) -> bool:
    """Whether `text` has the form of a response ID; anything else can be rejected without a query."""
    return _RESPONSE_ID.match(text) is not None


def is_prompt_id(text: str) -> bool:
    """Whether `text` has the form of a prompt ID."""
    return _PROMPT_ID.match(text) is not None


def is_key_id(text: str) -> bool:
    """Whether `text` has the form of an API key ID."""
    return _KEY_ID.match(text) is not None

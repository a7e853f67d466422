"""IDs that consist of a prefix, the creation time and enough random bits to be unguessable."""

import os
import re
import secrets
import time
from collections import deque

_RESPONSE_ID = re.compile(r"resp_[0-9a-f]{48}\Z")
_PROMPT_ID = re.compile(r"pmpt_[0-9a-f]{48}\Z")
_KEY_ID = re.compile(r"key_[0-9a-f]{48}\Z")

_RANDOM_BYTES_PER_ID = 18
_IDS_PER_FETCH = 64
# Pre-fetched random bytes, in pieces for one ID each. A `urandom` call releases the GIL, and the thread must then wait
# to get it back, so we fetch the bytes of many IDs in one call.
_random_pool: deque[bytes] = deque()
os.register_at_fork(after_in_child=_random_pool.clear)


def new_id(prefix: str) -> str:
    """Return a new ID such as `resp_…`: 48 hex digits, 12 for the time in milliseconds and 36 for 144 random bits.

    Because of the leading timestamp, index entries of new rows are adjacent. Nothing relies on the order of IDs.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_take_random_bytes().hex()}"


def _take_random_bytes() -> bytes:
    """Return random bytes that have not been used before."""
    try:
        return _random_pool.pop()
    except IndexError:
        block = secrets.token_bytes(_RANDOM_BYTES_PER_ID * _IDS_PER_FETCH)
        starts = range(0, len(block), _RANDOM_BYTES_PER_ID)
        first_piece, *other_pieces = (block[start : start + _RANDOM_BYTES_PER_ID] for start in starts)
        _random_pool.extend(other_pieces)
        return first_piece


def is_response_id(text: str) -> bool:
    """Whether `text` has the form of a response ID; anything else can be rejected without a query."""
    return _RESPONSE_ID.match(text) is not None


def is_prompt_id(text: str) -> bool:
    """Whether `text` has the form of a prompt ID."""
    return _PROMPT_ID.match(text) is not None


def is_key_id(text: str) -> bool:
    """Whether `text` has the form of an API key ID."""
    return _KEY_ID.match(text) is not None

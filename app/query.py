"""Reads and validates query parameters and request headers; errors name the parameter."""

import re
from typing import TypedDict, get_args

from app.http import Exchange
from core import errors
from core.wire.request import Include
from core.wire.status import Status

PAGE_LIMIT = 100
PAGE_DEFAULT = 20
WAIT_LIMIT_S = 60
_METADATA = re.compile(r"metadata\[(.+)\]\Z", re.DOTALL)
_INCLUDES = frozenset(get_args(Include))


def stream(exchange: Exchange) -> bool:
    """Whether the client requests the response's events instead of the response.

    Raises:
        errors.InvalidRequest: `stream` is neither true nor false.
    """
    return _flag(exchange, "stream")


def check_obfuscation(exchange: Exchange) -> None:
    """Validate `include_obfuscation`, which has no effect because events are never padded.

    Raises:
        errors.InvalidRequest: it is neither true nor false.
    """
    _flag(exchange, "include_obfuscation")


def _flag(exchange: Exchange, name: str) -> bool:
    asked = exchange.arguments.get(name, "false").lower()
    if asked not in {"true", "1", "false", "0", ""}:
        raise errors.InvalidRequest(f"Invalid value for '{name}': it must be true or false.", param=name)
    return asked in {"true", "1"}


def starting_after(exchange: Exchange) -> int:
    """The sequence number after which the stream starts; -1 to start with the first event.

    Raises:
        errors.InvalidRequest: it is not an integer.
    """
    text = exchange.arguments.get("starting_after")
    if text is None:
        return -1
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text.strip(), re.ASCII):
        raise errors.InvalidRequest(
            "Invalid value for 'starting_after': it must be an integer.", param="starting_after"
        )
    # Sequence numbers are of Postgres's type `integer`, and so must the next one be.
    return min(max(int(text), -1), 2**31 - 2)


def include(exchange: Exchange) -> frozenset[str]:
    """The values of `include[]` and `include`.

    Raises:
        errors.InvalidRequest: a value is unknown.
    """
    values = exchange.arguments.getlist("include[]") + exchange.arguments.getlist("include")
    for value in values:
        if value not in _INCLUDES:
            raise errors.InvalidRequest(f"Invalid value for 'include': '{value[:100]}'.", param="include")
    return frozenset(values)


def limit(exchange: Exchange) -> int:
    """The maximum number of entries on a page.

    Raises:
        errors.InvalidRequest: it is not a number from 1 to 100.
    """
    text = exchange.arguments.get("limit")
    if text is None:
        return PAGE_DEFAULT
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= PAGE_LIMIT:
        raise errors.InvalidRequest(f"limit must be between 1 and {PAGE_LIMIT}.", param="limit")
    return int(text)


def descending(exchange: Exchange) -> bool:
    """Whether the newest entry comes first, which is the default.

    Raises:
        errors.InvalidRequest: `order` is neither `asc` nor `desc`.
    """
    order = exchange.arguments.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise errors.InvalidRequest("order must be 'asc' or 'desc'.", param="order")
    return order == "desc"


def after(exchange: Exchange) -> str | None:
    """The ID of the last entry before the page; None for the first page."""
    return exchange.arguments.get("after")


class Paging(TypedDict):
    """The requested page of a list, as keyword arguments of the use cases that list."""

    limit: int
    descending: bool
    after: str | None


def paging(exchange: Exchange) -> Paging:
    """The requested page.

    Raises:
        errors.InvalidRequest: `limit` or `order` is invalid.
    """
    return {"limit": limit(exchange), "descending": descending(exchange), "after": after(exchange)}


def status(exchange: Exchange) -> str | None:
    """The status to filter by; None for all.

    Raises:
        errors.InvalidRequest: the status is unknown.
    """
    asked = exchange.arguments.get("status")
    if asked is not None and asked not in set(Status):
        raise errors.InvalidRequest(f"status must be one of {', '.join(Status)}.", param="status")
    return asked


def metadata(exchange: Exchange) -> dict[str, str]:
    """The metadata pairs to filter by, given as `metadata[key]=value`.

    Raises:
        errors.InvalidRequest: a pair has a different syntax, or contains NUL, which stored metadata never does.
    """
    pairs = {}
    for name, value in exchange.arguments.items():
        if not name.startswith("metadata"):
            continue
        found = _METADATA.match(name)
        if found is None:
            raise errors.InvalidRequest("metadata must be given as metadata[key]=value.", param="metadata")
        if "\0" in name + value:
            raise errors.InvalidRequest("metadata cannot contain NUL.", param="metadata")
        pairs[found[1]] = value
    return pairs


def text(exchange: Exchange, name: str) -> str | None:
    """A text parameter; None if it is absent.

    Raises:
        errors.InvalidRequest: it contains NUL, which stored values never do.
    """
    value = exchange.arguments.get(name)
    if value is not None and "\0" in value:
        raise errors.InvalidRequest(f"{name} cannot contain NUL.", param=name)
    return value


def wait_s(exchange: Exchange) -> int | None:
    """How many seconds the client prefers to wait for the end instead of polling again (`Prefer: wait=10`).

    At most 60. None if there is no such preference; an invalid one is ignored.

    Source: RFC 7240.
    """
    for preference in (exchange.header("Prefer") or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait" and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
            return min(int(value), WAIT_LIMIT_S) or None
    return None

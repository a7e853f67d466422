"""Reads and validates query parameters and request headers; errors contain the name of the parameter."""

import re
from typing import TypedDict, get_args

from app.http import LIST_ARGUMENTS, QUOTE_LIMIT, Exchange
from core import errors
from core.wire.request import Include
from core.wire.status import Status

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
WAIT_LIMIT_S = 60
_METADATA = re.compile(r"metadata\[(.+)\]\Z", re.DOTALL)
_INCLUDE_VALUES = frozenset(get_args(Include))


def is_stream_requested(exchange: Exchange) -> bool:
    """Whether a poll requests the response's events instead of the response.

    Raises:
        errors.InvalidRequest: a parameter of the poll is invalid. `include` and `include_obfuscation` are checked too,
            although they have no effect on a poll.
    """
    include_values(exchange)
    starting_after(exchange)
    _parse_flag(exchange, "include_obfuscation")
    return _parse_flag(exchange, "stream")


def is_wait_reason_requested(exchange: Exchange) -> bool:
    """Whether a poll requests the reason why a queued response does not run.

    Raises:
        errors.InvalidRequest: the parameter is neither true nor false.
    """
    return _parse_flag(exchange, "wait_reason")


def _parse_flag(exchange: Exchange, name: str) -> bool:
    value = exchange.arguments.get(name, "false").lower()
    if value not in {"true", "1", "false", "0", ""}:
        raise errors.InvalidRequest(f"Invalid value for '{name}': it must be true or false.", param=name)
    return value in {"true", "1"}


def starting_after(exchange: Exchange) -> int:
    """The sequence number after which the stream starts; -1 to start with the first event.

    Raises:
        errors.InvalidRequest: the parameter is not an integer.
    """
    text = exchange.arguments.get("starting_after")
    if text is None:
        return -1
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text.strip(), re.ASCII):
        raise errors.InvalidRequest(
            "Invalid value for 'starting_after': it must be an integer.", param="starting_after"
        )
    # Sequence numbers are stored as 32-bit integers, and the next number must fit, too.
    return min(max(int(text), -1), 2**31 - 2)


def include_values(exchange: Exchange) -> frozenset[str]:
    """The values of the parameters `include[]` and `include`.

    Raises:
        errors.InvalidRequest: a value is unknown.
    """
    values = [value for name in LIST_ARGUMENTS for value in exchange.arguments.getlist(name)]
    for value in values:
        if value not in _INCLUDE_VALUES:
            raise errors.InvalidRequest(f"Invalid value for 'include': '{value[:QUOTE_LIMIT]}'.", param="include")
    return frozenset(values)


def page_limit(exchange: Exchange) -> int:
    """The maximum number of entries on a page.

    Raises:
        errors.InvalidRequest: `limit` is not a number from 1 to `MAX_PAGE_SIZE`.
    """
    text = exchange.arguments.get("limit")
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MAX_PAGE_SIZE:
        raise errors.InvalidRequest(f"limit must be between 1 and {MAX_PAGE_SIZE}.", param="limit")
    return int(text)


def is_descending(exchange: Exchange) -> bool:
    """Whether the newest entry comes first (the default).

    Raises:
        errors.InvalidRequest: `order` is neither `asc` nor `desc`.
    """
    order = exchange.arguments.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise errors.InvalidRequest("order must be 'asc' or 'desc'.", param="order")
    return order == "desc"


def after_id(exchange: Exchange) -> str | None:
    """The ID of the last entry before the page; None for the first page."""
    return exchange.arguments.get("after")


class Paging(TypedDict):
    """The requested page of a list, as keyword arguments of the functions in core that return lists."""

    limit: int
    descending: bool
    after: str | None


def paging(exchange: Exchange) -> Paging:
    """The page that the client requests.

    Raises:
        errors.InvalidRequest: `limit` or `order` is invalid.
    """
    return {"limit": page_limit(exchange), "descending": is_descending(exchange), "after": after_id(exchange)}


def status_filter(exchange: Exchange) -> str | None:
    """The status by which to filter; None for all.

    Raises:
        errors.InvalidRequest: the status is unknown.
    """
    value = exchange.arguments.get("status")
    if value is not None and value not in set(Status):
        raise errors.InvalidRequest(f"status must be one of {', '.join(Status)}.", param="status")
    return value


def metadata_filter(exchange: Exchange) -> dict[str, str]:
    """The metadata pairs by which to filter, from parameters such as `metadata[key]=value`.

    Raises:
        errors.InvalidRequest: a pair has a different syntax, or contains NUL, which stored metadata never contains.
    """
    pairs = {}
    for name, value in exchange.arguments.items():
        if not name.startswith("metadata"):
            continue
        match = _METADATA.match(name)
        if match is None:
            raise errors.InvalidRequest("metadata must be given as metadata[key]=value.", param="metadata")
        if "\0" in name + value:
            raise errors.InvalidRequest("metadata cannot contain NUL.", param="metadata")
        pairs[match[1]] = value
    return pairs


def text_argument(exchange: Exchange, name: str) -> str | None:
    """A text parameter; None if it is absent.

    Raises:
        errors.InvalidRequest: the parameter contains NUL, which stored values never contain.
    """
    value = exchange.arguments.get(name)
    if value is not None and "\0" in value:
        raise errors.InvalidRequest(f"{name} cannot contain NUL.", param=name)
    return value


def preferred_wait_s(exchange: Exchange) -> int | None:
    """The seconds that the client prefers to wait for the end instead of polling again (`Prefer: wait=10`).

    The maximum is `WAIT_LIMIT_S`. None if the header contains no such preference, or its value is zero or invalid.

    Source: RFC 7240.
    """
    for preference in (exchange.list_header("Prefer") or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait" and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
            return min(int(value), WAIT_LIMIT_S) or None
    return None

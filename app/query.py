"""What a request asks for in its query string and headers, or an error that names it."""

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
    """Whether the response's events are asked for, and not the response.

    Raises:
        errors.InvalidRequest: `stream` says neither true nor false.
    """
    return _flag(exchange, "stream")


def check_obfuscation(exchange: Exchange) -> None:
    """Return if `include_obfuscation` makes sense; no event is padded, so it changes no answer.

    Raises:
        errors.InvalidRequest: it says neither true nor false.
    """
    _flag(exchange, "include_obfuscation")


def _flag(exchange: Exchange, name: str) -> bool:
    asked = exchange.arguments.get(name, "false").lower()
    if asked not in {"true", "1", "false", "0", ""}:
        raise errors.InvalidRequest(f"Invalid value for '{name}': it must be true or false.", param=name)
    return asked in {"true", "1"}


def starting_after(exchange: Exchange) -> int:
    """The number of the last event that the client has; -1 where it wants them from the first on.

    Raises:
        errors.InvalidRequest: it is no integer.
    """
    text = exchange.arguments.get("starting_after")
    if text is None:
        return -1
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text.strip(), re.ASCII):
        raise errors.InvalidRequest(
            "Invalid value for 'starting_after': it must be an integer.", param="starting_after"
        )
    # No log is longer than Postgres can count.
    return min(max(int(text), -1), 2**31 - 2)


def include(exchange: Exchange) -> frozenset[str]:
    """What `include` names.

    Raises:
        errors.InvalidRequest: a value of it is unknown.
    """
    values = exchange.arguments.getlist("include[]") + exchange.arguments.getlist("include")
    for value in values:
        if value not in _INCLUDES:
            raise errors.InvalidRequest(f"Invalid value for 'include': '{value[:100]}'.", param="include")
    return frozenset(values)


def limit(exchange: Exchange) -> int:
    """How many entries a page may have.

    Raises:
        errors.InvalidRequest: it is no number from 1 to 100.
    """
    text = exchange.arguments.get("limit")
    if text is None:
        return PAGE_DEFAULT
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= PAGE_LIMIT:
        raise errors.InvalidRequest(f"limit must be between 1 and {PAGE_LIMIT}.", param="limit")
    return int(text)


def descending(exchange: Exchange) -> bool:
    """Whether the newest comes first, as it does where nothing else is said.

    Raises:
        errors.InvalidRequest: `order` is neither `asc` nor `desc`.
    """
    order = exchange.arguments.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise errors.InvalidRequest("order must be 'asc' or 'desc'.", param="order")
    return order == "desc"


def after(exchange: Exchange) -> str | None:
    """The ID behind which a page begins."""
    return exchange.arguments.get("after")


class Paging(TypedDict):
    """Which page of a list is asked for, as keyword arguments of the use cases that list."""

    limit: int
    descending: bool
    after: str | None


def paging(exchange: Exchange) -> Paging:
    """The page that is asked for.

    Raises:
        errors.InvalidRequest: `limit` or `order` is wrong.
    """
    return {"limit": limit(exchange), "descending": descending(exchange), "after": after(exchange)}


def status(exchange: Exchange) -> str | None:
    """The status to list.

    Raises:
        errors.InvalidRequest: there is no such status.
    """
    asked = exchange.arguments.get("status")
    if asked is not None and asked not in set(Status):
        raise errors.InvalidRequest(f"status must be one of {', '.join(Status)}.", param="status")
    return asked


def metadata(exchange: Exchange) -> dict[str, str]:
    """The pairs that a listed response's metadata must have: `metadata[key]=value`.

    Raises:
        errors.InvalidRequest: a pair is written in another way, or has a NUL, which no metadata has.
    """
    pairs = {}
    for name, value in exchange.arguments.items():
        if not name.startswith("metadata"):
            continue
        found = _METADATA.match(name)
        if found is None:
            raise errors.InvalidRequest("metadata is asked for as metadata[key]=value.", param="metadata")
        if "\0" in name + value:
            raise errors.InvalidRequest("metadata cannot contain NUL.", param="metadata")
        pairs[found[1]] = value
    return pairs


def text(exchange: Exchange, name: str) -> str | None:
    """A plain parameter.

    Raises:
        errors.InvalidRequest: it has a NUL, which nothing of ours has.
    """
    value = exchange.arguments.get(name)
    if value is not None and "\0" in value:
        raise errors.InvalidRequest(f"{name} cannot contain NUL.", param=name)
    return value


def wait_s(exchange: Exchange) -> int | None:
    """For how long the client would rather wait for the end than poll again (`Prefer: wait=10`), at most 60 s.

    A preference that makes no sense is no preference.

    Source: RFC 7240.
    """
    for preference in (exchange.header("Prefer") or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait" and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
            return min(int(value), WAIT_LIMIT_S) or None
    return None

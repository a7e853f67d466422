"""Parses the body of a model server's answer into the JSON values of its server-sent events."""

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from core import errors

# Maximum length of a line in bytes; no model server sends longer events.
LINE_LIMIT = 8 * 1024 * 1024
# Maximum length in bytes of an answer that is a single JSON document.
BODY_LIMIT = 64 * 1024 * 1024

# Maximum nesting of objects and arrays. orjson has the same limit; that of the json module depends on Python's version.
NESTING_LIMIT = 1024

# The value that `feed` yields for `data: [DONE]`.
DONE: Final = object()

_BEFORE_THE_FIRST = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, and blank lines


class Events:
    """Parses one body incrementally.

    It accepts more than the standard allows, because servers send it: a JSON document instead of events, events without
    a blank line between them, JSON that continues in the next `data:` line, and `error:` lines.
    """

    def __init__(self) -> None:
        self._begun = False
        self._in_one_piece = False
        self._pieces: list[bytes] = []  # the pieces of the unfinished line or document
        self._size = 0
        self._cut = b""  # JSON that continues in the next line
        self._failing = False  # whether the name of the current event is `error`
        self.ended = False  # whether `DONE` was read

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """Yield the events that these bytes complete: JSON values, and `DONE`.

        Raises:
            errors.Refused: the body is an HTML page, is not JSON, or exceeds a length limit.
        """
        if not self._begun:
            chunk = self._begin(chunk)
        if self._in_one_piece or b"\n" not in chunk:
            self._keep(chunk)
            return
        if self._pieces:
            chunk = b"".join((*self._pieces, chunk))
            self._pieces.clear()
        *lines, rest = chunk.split(b"\n")
        self._size = 0
        for line in lines:
            event = self._data(line[5:]) if line.startswith(b"data:") else self._other(line)
            if event is not None:
                yield event
        self._keep(rest)

    def close(self) -> Iterator[Any]:
        """Yield the events that the end of the body completes; a truncated event is dropped."""
        rest = b"".join(self._pieces)
        if self._in_one_piece:
            yield _loads(rest)
        elif rest.startswith(b"data:") and (event := self._data(rest[5:])) is not None:
            yield event

    @property
    def in_one_piece(self) -> bool:
        """Whether the body is one JSON document."""
        return self._in_one_piece

    def _begin(self, chunk: bytes) -> bytes:
        found = (b"".join(self._pieces) + chunk).lstrip(_BEFORE_THE_FIRST)
        self._pieces.clear()
        self._size = 0
        if found.startswith(b"<"):
            raise errors.Refused("The model server sent an HTML page instead of an answer.")
        self._begun = bool(found)
        self._in_one_piece = found.startswith((b"{", b"["))
        return found

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > (BODY_LIMIT if self._in_one_piece else LINE_LIMIT):
                raise errors.Refused("The model server sent a line or a document that is too long.")

    def _data(self, data: bytes) -> Any:
        """Return the event that a `data:` line completes, or None."""
        if self._cut:
            data = self._cut + b"\n" + data
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            data = data.strip()
            if data == b"[DONE]":
                self.ended = True
                return DONE
            try:
                event = _loads(data)
            except errors.Refused:
                if len(data) > LINE_LIMIT:
                    raise
                self._cut = data
                return None
        self._cut = b""
        return {"error": event} if self._failing else event

    def _other(self, line: bytes) -> Any:
        """Process a line that is not data: a blank line ends an event; comments and most fields are ignored."""
        line = line.rstrip(b"\r")
        if not line:
            self._failing = False
            if self._cut:
                raise errors.Refused("The model server sent something that is not JSON.")
        elif line.startswith(b"event:"):
            self._failing = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            return {"error": _loads(line[6:])}
        return None


def _loads(data: bytes) -> Any:
    """Parse JSON, tolerating what some servers send: NaN, lone surrogates, control characters, and invalid UTF-8.

    Raises:
        errors.Refused: the data is not JSON even so, or is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        found = json.loads(data.decode(errors="replace"), strict=False)
        if _is_nested_too_deeply(found):
            raise errors.Refused("The model server sent JSON that is nested too deeply.")
        text = json.dumps(found, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError) as error:
        raise errors.Refused("The model server sent something that is not JSON.") from error


def _is_nested_too_deeply(value: object) -> bool:
    """Return whether the value has more than `NESTING_LIMIT` levels; does not recurse."""
    level = [value]
    for _ in range(NESTING_LIMIT + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return True

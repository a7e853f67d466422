"""Parses the body of a model server's answer into the JSON values of its server-sent events."""

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from core import errors

# Maximum length of a line of an event stream. No model server is known to send longer lines.
LINE_LIMIT_BYTES = 8 * 1024 * 1024
# Maximum length of an answer that is a single JSON document.
BODY_LIMIT_BYTES = 64 * 1024 * 1024

# Maximum nesting of objects and arrays. orjson has the same limit; the json module's limit depends on Python's version.
NESTING_LIMIT = 1024

# An incomplete JSON text that continues in further lines is parsed after each of this number of lines, and then only
# where its event ends: parsing it after every line would take time that grows with the square of its length.
_MAX_PARSED_LINES = 8

# The value that `feed` yields for `data: [DONE]`.
DONE: Final = object()

_LEADING_BYTES = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, and blank lines


class EventParser:
    """Parses one body incrementally.

    The parser also accepts deviations from the standard that occur in practice: a JSON document instead of events,
    events without a blank line between them, JSON that continues in the next `data:` line, and `error:` lines.
    """

    def __init__(self) -> None:
        self._has_started = False
        self._is_document = False
        self._pieces: list[bytes] = []  # of the incomplete line or document
        self._byte_count = 0
        self._json_lines: list[bytes] = []  # incomplete JSON that continues in the next line
        self._json_byte_count = 0
        self._is_error_event = False  # whether the name of the current event is `error`
        self.has_end_marker = False  # whether `DONE` was read

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """Process bytes of the body; yield the events that they complete: JSON values, and `DONE`.

        Raises:
            errors.PermanentError: the body is an HTML page, is not JSON, or exceeds a length limit.
        """
        if not self._has_started:
            chunk = self._detect_format(chunk)
        if self._is_document or b"\n" not in chunk:
            self._store_piece(chunk)
            return
        if self._pieces:
            chunk = b"".join((*self._pieces, chunk))
            self._pieces.clear()
        *lines, remainder = chunk.split(b"\n")
        self._byte_count = 0
        for line in lines:
            event = self._parse_data(line[5:]) if line.startswith(b"data:") else self._parse_other_line(line)
            if event is not None:
                yield event
        self._store_piece(remainder)

    def close(self) -> Iterator[Any]:
        """End the body; yield the events that the end completes. A truncated event is dropped."""
        remainder = b"".join(self._pieces)
        if self._is_document:
            yield _parse_leniently(remainder)
        elif remainder.startswith(b"data:") and (event := self._parse_data(remainder[5:])) is not None:
            yield event

    @property
    def is_document(self) -> bool:
        """Whether the body is one JSON document."""
        return self._is_document

    def _detect_format(self, chunk: bytes) -> bytes:
        """Detect whether the body is a JSON document; return the bytes so far without leading blank lines."""
        body_start = (b"".join(self._pieces) + chunk).lstrip(_LEADING_BYTES)
        self._pieces.clear()
        self._byte_count = 0
        if body_start.startswith(b"<"):
            raise errors.PermanentError("The model server sent an HTML page instead of an answer.")
        self._has_started = bool(body_start)
        self._is_document = body_start.startswith((b"{", b"["))
        return body_start

    def _store_piece(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._byte_count += len(piece)
            if self._byte_count > (BODY_LIMIT_BYTES if self._is_document else LINE_LIMIT_BYTES):
                raise errors.PermanentError("The model server sent a line or a document that is too long.")

    def _parse_data(self, data: bytes) -> Any:
        """Parse the content of a `data:` line; return the event that it completes, or None."""
        if self._json_lines:
            return self._continue_json(data)
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data.strip() == b"[DONE]":
                self.has_end_marker = True
                return DONE
            return self._continue_json(data)
        return self._complete_event(event)

    def _continue_json(self, line: bytes) -> object:
        """Add a line to the incomplete JSON; return the event that it completes, or None."""
        self._json_lines.append(line.strip())
        self._json_byte_count += len(line) + 1
        is_too_long = self._json_byte_count > LINE_LIMIT_BYTES
        if len(self._json_lines) > _MAX_PARSED_LINES and not is_too_long:
            return None
        try:
            return self._parse_lines()
        except errors.PermanentError:
            if is_too_long:
                raise
            return None

    def _parse_lines(self) -> object:
        """Return the event whose JSON is in the lines so far. Raises the same errors as `feed`."""
        event = _parse_leniently(b"\n".join(self._json_lines))
        self._json_lines.clear()
        self._json_byte_count = 0
        return self._complete_event(event)

    def _complete_event(self, event: object) -> object:
        return {"error": event} if self._is_error_event else event

    def _parse_other_line(self, line: bytes) -> Any:
        """Process any other line: a blank line ends an event; comments and most fields are ignored."""
        line = line.rstrip(b"\r")
        if not line:
            event = self._parse_lines() if self._json_lines else None
            self._is_error_event = False
            return event
        if line.startswith(b"event:"):
            self._is_error_event = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            return {"error": _parse_leniently(line[6:])}
        return None


def _parse_leniently(data: bytes) -> Any:
    """Parse JSON, and tolerate NaN, lone surrogates, control characters and invalid UTF-8, which some servers send.

    Raises:
        errors.PermanentError: the data is not JSON, or is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(data.decode(errors="replace"), strict=False)
        if _is_nested_too_deeply(value):
            raise errors.PermanentError("The model server sent JSON that is nested too deeply.")
        text = json.dumps(value, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError) as error:
        raise errors.PermanentError("The model server sent something that is not JSON.") from error


def _is_nested_too_deeply(value: object) -> bool:
    """Return whether the value has more than `NESTING_LIMIT` levels, without recursion."""
    level = [value]
    for _ in range(NESTING_LIMIT + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return False
        level = []
        for container in containers:
            level.extend(container.values() if isinstance(container, dict) else container)
    return True

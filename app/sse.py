"""Server-sent events: a response's log as frames, with signs of life, and how a stream ends early."""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import StrEnum

from app.http import Answer
from core import errors, jsonio
from core.codes import Code, ErrorType
from core.streams.streams import kind

log = logging.getLogger(__name__)

HEADERS = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
CONTENT_TYPE = "text/event-stream; charset=utf-8"
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
_BUG = errors.Error("The server had an error while streaming this response.", code=Code.SERVER_ERROR)
# Whole frames go out together up to about so many bytes.
_WRITE_BYTES = 64 * 1024


class Left(StrEnum):
    """How a stream came to its end."""

    COMPLETE = "everything was sent"
    CUT = "it could not go on"
    GONE = "its reader has gone, or takes too long"


OnClose = Callable[[Left], None]


def answer(lines: Generator[list[bytes]], after: int, on_close: OnClose, *, stall_s: float) -> Answer:
    """A stream of events.

    Args:
        lines: the events as they are stored; an empty list for a sign of life.
        after: the number before the first one.
        on_close: called once, when nothing more is sent.
        stall_s: a reader that takes longer than that for one write does not keep up. Its place is for others; it can
            read on later.
    """
    return Answer(_Body(lines, after, on_close, stall_s), headers=HEADERS, content_type=CONTENT_TYPE)


def frame(line: bytes) -> bytes:
    """One event as it goes over the wire."""
    return b"event: " + kind(line).encode() + b"\ndata: " + line + b"\n\n"


def _writes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole frames, some at a time."""
    frames: list[bytes] = []
    size = 0
    for line in lines:
        frames.append(frame(line))
        size += len(line)
        if size > _WRITE_BYTES:
            yield b"".join(frames)
            frames, size = [], 0
    if frames:
        yield b"".join(frames)


def _error(error: errors.Error, sent: int) -> bytes:
    """The event that ends a stream which cannot go on, in both of the shapes that clients know.

    It is none of the log, so it has the number of the last event that was sent: whoever takes the number of the last
    event it saw for `starting_after` misses nothing.
    """
    what = {"code": error.code, "message": str(error), "param": error.param}
    event = {"type": "error", "sequence_number": sent, **what, "error": {"type": ErrorType.SERVER, **what}}
    return frame(jsonio.dumps(event).encode())


class _Body(Iterator[bytes]):
    """The writes of a stream; it ends where its reader takes one too slowly."""

    def __init__(self, lines: Generator[list[bytes]], after: int, on_close: OnClose, stall_s: float) -> None:
        self._stall_s = stall_s
        self._lines = lines
        self._sent = after
        self._writes = self._run()
        self._on_close: OnClose | None = on_close
        self._left = Left.GONE
        self._given_at: float | None = None

    def _run(self) -> Generator[bytes]:
        try:
            for some in self._lines:
                yield from _writes(some) if some else [PING]
                self._sent += len(some)
        except errors.Error as error:
            log.info("a stream ends early", extra={"cause": str(error)})
            self._left = Left.CUT
            yield _error(error, self._sent)
        except Exception:
            log.exception("a stream failed")
            self._left = Left.CUT
            yield _error(_BUG, self._sent)
        else:
            self._left = Left.COMPLETE
            yield DONE

    def __next__(self) -> bytes:
        if self._given_at is not None and time.monotonic() - self._given_at > self._stall_s:
            log.warning("dropped a reader that does not keep up")
            raise StopIteration
        some = next(self._writes)
        self._given_at = time.monotonic()
        return some

    def close(self) -> None:
        """Send nothing more."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            self._writes.close()
            self._lines.close()
            on_close(self._left)

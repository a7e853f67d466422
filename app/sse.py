"""Server-sent events: the frames of an event log, keep-alive comments, and streams that end early."""

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
# Complete frames are joined into writes of about this size.
_WRITE_BYTES = 64 * 1024


class Left(StrEnum):
    """How a stream ended."""

    COMPLETE = "all events were sent"
    CUT = "the stream failed"
    GONE = "the reader disconnected or stalled"


OnClose = Callable[[Left], None]


def answer(lines: Generator[list[bytes]], after: int, on_close: OnClose, *, stall_s: float) -> Answer:
    """An event stream as an answer.

    Args:
        lines: batches of events as they are stored; an empty batch sends a keep-alive comment.
        after: the sequence number before the first event.
        on_close: called once, after the last write.
        stall_s: maximum seconds that a reader may take for one write. A slower reader is dropped, to free its wait
            slot; it can resume later.
    """
    return Answer(_Body(lines, after, on_close, stall_s), headers=HEADERS, content_type=CONTENT_TYPE)


def frame(line: bytes) -> bytes:
    """One event in the wire format."""
    return b"event: " + kind(line).encode() + b"\ndata: " + line + b"\n\n"


def _writes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join the frames of events into writes of about `_WRITE_BYTES`."""
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
    """The event that ends a failed stream, in both of the formats that clients understand.

    It is not part of the log, so it has the sequence number of the last event that was sent: a client that passes the
    number of the last event it received as `starting_after` misses nothing.
    """
    what = {"code": error.code, "message": str(error), "param": error.param}
    event = {"type": "error", "sequence_number": sent, **what, "error": {"type": ErrorType.SERVER, **what}}
    return frame(jsonio.dumps(event).encode())


class _Body(Iterator[bytes]):
    """The writes of a stream, which ends if the reader takes longer than `stall_s` for one of them."""

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
            log.info("stream ended early", extra={"cause": str(error)})
            self._left = Left.CUT
            yield _error(error, self._sent)
        except Exception:
            log.exception("stream failed")
            self._left = Left.CUT
            yield _error(_BUG, self._sent)
        else:
            self._left = Left.COMPLETE
            yield DONE

    def __next__(self) -> bytes:
        if self._given_at is not None and time.monotonic() - self._given_at > self._stall_s:
            log.warning("dropped a stalled reader")
            raise StopIteration
        some = next(self._writes)
        self._given_at = time.monotonic()
        return some

    def close(self) -> None:
        """Stop the stream and report how it ended; further calls have no effect."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            self._writes.close()
            self._lines.close()
            on_close(self._left)

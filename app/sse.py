"""Server-sent events: the frames of an event log, keep-alive comments, and the error event of a failed stream."""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import StrEnum

from app.errors import status_and_type
from app.http import Answer
from core import errors, jsonio
from core.codes import Code
from core.streams.streams import event_type

log = logging.getLogger(__name__)

STREAM_HEADERS = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
CONTENT_TYPE = "text/event-stream; charset=utf-8"
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
_INTERNAL_ERROR = errors.Error("The server had an error while streaming this response.", code=Code.SERVER_ERROR)
# Complete frames are joined into writes of about this size.
_WRITE_BYTES = 64 * 1024


class StreamEnd(StrEnum):
    """The reasons why a stream ends."""

    COMPLETE = "all events were sent"
    FAILED = "the stream failed"
    DISCONNECTED = "the reader disconnected or stalled"


OnClose = Callable[[StreamEnd], None]


def answer(batches: Generator[list[bytes]], last_number: int, on_close: OnClose, *, stall_s: float) -> Answer:
    """An answer that streams events.

    Args:
        batches: events as they are stored, in batches; an empty batch sends a keep-alive comment.
        last_number: the sequence number of the event before the first one; -1 if there is none.
        on_close: called once, after the last write.
        stall_s: maximum seconds that a reader may take for one write. A slower reader is dropped, to free its wait
            slot; it can resume the stream later.
    """
    return Answer(
        _StreamBody(batches, last_number, on_close, stall_s), headers=STREAM_HEADERS, content_type=CONTENT_TYPE
    )


def frame(event_json: bytes) -> bytes:
    """One event as a server-sent event."""
    return b"event: " + event_type(event_json).encode() + b"\ndata: " + event_json + b"\n\n"


def _joined_frames(events: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames of the events, joined into pieces of about `_WRITE_BYTES`."""
    frames: list[bytes] = []
    byte_count = 0
    for event_json in events:
        frames.append(frame(event_json))
        byte_count += len(event_json)
        if byte_count > _WRITE_BYTES:
            yield b"".join(frames)
            frames, byte_count = [], 0
    if frames:
        yield b"".join(frames)


def _error_frame(error: errors.Error, last_number: int) -> bytes:
    """The event that ends a failed stream, with the details in both places where clients look for them.

    The event is not part of the log, so it repeats the sequence number of the last event: a client that resumes with
    this number as `starting_after` misses nothing.
    """
    details = {"code": error.code, "message": str(error), "param": error.param}
    _, error_type = status_and_type(error)
    event = {"type": "error", "sequence_number": last_number, **details, "error": {"type": error_type, **details}}
    return frame(jsonio.dumps(event).encode())


class _StreamBody(Iterator[bytes]):
    """Iterator of the writes of a stream; it stops if the reader takes longer than `stall_s` for one write."""

    def __init__(self, batches: Generator[list[bytes]], last_number: int, on_close: OnClose, stall_s: float) -> None:
        self._stall_s = stall_s
        self._batches = batches
        self._last_number = last_number
        self._writes = self._generate_writes()
        self._on_close: OnClose | None = on_close
        self._stream_end = StreamEnd.DISCONNECTED
        self._last_write_at: float | None = None

    def _generate_writes(self) -> Generator[bytes]:
        try:
            for batch in self._batches:
                yield from _joined_frames(batch) if batch else [PING]
                self._last_number += len(batch)
        except errors.Error as error:
            log.info("stream ended early", extra={"cause": str(error)})
            self._stream_end = StreamEnd.FAILED
            yield _error_frame(error, self._last_number)
        except Exception:
            log.exception("stream failed")
            self._stream_end = StreamEnd.FAILED
            yield _error_frame(_INTERNAL_ERROR, self._last_number)
        else:
            self._stream_end = StreamEnd.COMPLETE
            yield DONE

    def __next__(self) -> bytes:
        if self._last_write_at is not None and time.monotonic() - self._last_write_at > self._stall_s:
            log.warning("dropped a stalled reader")
            raise StopIteration
        write = next(self._writes)
        self._last_write_at = time.monotonic()
        return write

    def close(self) -> None:
        """Stop the stream and report how it ended; further calls have no effect."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            self._writes.close()
            self._batches.close()
            on_close(self._stream_end)

"""A scripted model server that needs little processor time, because it computes all response bytes in advance.

Usage: `python -m bench.model_server PORT`. It responds to POST requests to any path if their `model` is the name of a
shape (see `bench.shapes`). GET /streams returns the counts of responses and the times of the responses whose request
contains a tag, such as `tag-7`. GET /reset resets the counts and deletes the times.
"""

import asyncio
import re
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast

import orjson
import uvloop

from bench import shapes
from bench.shapes import Shape

_MODEL = re.compile(rb'"model": ?"([^"]+)"')
_TAG = re.compile(rb"tag-[\w-]+")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# A piece is due this share of an interval early, because a timer may fire slightly too early.
_TIMER_TOLERANCE = 1e-3


@dataclass
class StreamTimes:
    """Times of a tagged response by the monotonic clock, which all processes on the machine share."""

    requested_at: float
    closed_at: float | None = None


class Server:
    """The counts and times of responses, which all connections share."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shape | None] = {}
        self.open = 0
        self.reset()

    def reset(self) -> None:
        self.max_open = self.open
        self.completed = 0
        self.aborted = 0
        self.streams: dict[str, StreamTimes] = {}

    def find_shape(self, model: bytes) -> Shape | None:
        """Return the cached shape of a model, or None if the name of the model is not the name of a shape."""
        if model not in self._shapes:
            self._shapes[model] = shapes.find_shape(model.decode())
        return self._shapes[model]

    def report(self) -> bytes:
        return orjson.dumps(
            {
                "open": self.open,
                "max_open": self.max_open,
                "completed": self.completed,
                "aborted": self.aborted,
                "streams": {tag: asdict(stream) for tag, stream in self.streams.items()},
            }
        )


class Connection(asyncio.Protocol):
    """A connection that reads requests, writes responses, and records when the client closes it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._shape: Shape | None = None  # None if no streamed response is in progress
        self._times: StreamTimes | None = None
        self._sent_pieces = 0
        self._began_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not an asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head_end + 2)
        if len(self._buffer) < head_end + 4 + (int(length[1]) if length else 0):
            return
        request, self._buffer = self._buffer, b""
        if request.startswith(b"POST"):
            self._start_stream(request)
        elif request.startswith(b"GET /reset"):
            self._server.reset()
            self._send_reply(b"200 OK", b"{}")
        else:
            self._send_reply(b"200 OK", self._server.report())

    def _send_reply(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)

    def _start_stream(self, request: bytes) -> None:
        model = _MODEL.search(request)
        shape = self._server.find_shape(model[1]) if model else None
        if shape is None:
            self._send_reply(b"404 Not Found", b'{"error": {"message": "Unknown shape."}}')
            return
        self._shape = shape
        self._sent_pieces = 0
        self._began_at = self._loop.time()
        tag = _TAG.search(request)
        if tag is not None:
            self._times = self._server.streams[tag[0].decode()] = StreamTimes(time.monotonic())
        self._server.open += 1
        self._server.max_open = max(self._server.max_open, self._server.open)
        self._write_due_pieces()

    def _write_due_pieces(self) -> None:
        """Write all pieces that are due and schedule the next write."""
        shape, transport = self._shape, self._transport
        assert shape is not None
        assert transport is not None
        self._timer = None
        due_count = len(shape.pieces)
        if shape.interval_s:
            due_count = min(
                due_count, 1 + int((self._loop.time() - self._began_at) / shape.interval_s + _TIMER_TOLERANCE)
            )
        data = b"".join(shape.pieces[self._sent_pieces : due_count])
        if self._sent_pieces == 0:
            data = shape.head + data
        self._sent_pieces = max(due_count, self._sent_pieces)
        if self._sent_pieces < len(shape.pieces):
            transport.write(data)
            self._timer = self._loop.call_at(
                self._began_at + self._sent_pieces * shape.interval_s, self._write_due_pieces
            )
            return
        transport.write(data + shape.tail)
        if not shape.is_endless:
            self._server.completed += 1
            self._finish_stream()

    def _finish_stream(self) -> None:
        self._server.open -= 1
        self._shape = None

    def eof_received(self) -> bool:
        self._record_close()
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._record_close()

    def _record_close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._times is not None and self._times.closed_at is None:
            self._times.closed_at = time.monotonic()
        if self._shape is not None:
            self._server.aborted += 1
            self._finish_stream()


async def _serve(port: int) -> None:
    server = Server()
    listener = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", port, backlog=4096
    )
    await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

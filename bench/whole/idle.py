"""Opens idle streams: streams of running responses that have sent all existing events to the client."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import load
from bench.load import wire
from bench.whole.config import UNLIMITED
from bench.whole.system import System

_TIMEOUT_S = 30
_CHUNK_BYTES = 65_536
_TEXT_EVENT = b"event: response.output_text.delta"


@dataclass(frozen=True)
class OpenStreams:
    """The number of open streams, and the reason why no further stream was opened."""

    count: int
    limit_reason: str


@contextmanager
def open_streams(system: System, ids: Sequence[str], max_streams: int) -> Iterator[OpenStreams]:
    """Open streams of the responses in turn, one after another, until `max_streams` are open or one is rejected.

    The streams are closed on exit.

    Raises:
        load.LoadError: the first stream is rejected.
    """
    with ExitStack() as connections:
        count, limit_reason = 0, f"all requested streams are open: {max_streams:,}"
        while count < max_streams:
            stream = connections.enter_context(socket.create_connection(("127.0.0.1", system.port), _TIMEOUT_S))
            if error := _start_stream(stream, system, ids[count % len(ids)]):
                limit_reason = f"stream {count + 1:,} was rejected: {error}"
                break
            count += 1
        if not count:
            raise load.LoadError(limit_reason)
        yield OpenStreams(count, limit_reason)


def _start_stream(stream: socket.socket, system: System, response_id: str) -> str:
    """Request a stream and read the existing events; return the status line if it is rejected, otherwise "".

    Raises:
        load.LoadError: the stream ended although its response is running.
        TimeoutError: the server sent nothing for `_TIMEOUT_S` seconds.
    """
    stream.sendall(wire.get_request(f"/v1/responses/{response_id}?stream=true", system.keys[UNLIMITED.name]).encode())
    response_data = b""
    while _TEXT_EVENT not in response_data:
        data = stream.recv(_CHUNK_BYTES)
        if not data:
            raise load.LoadError(f"A stream ended: {response_data[:200]!r}")
        response_data += data
        line = response_data.partition(b"\r\n")[0]
        if b"\r\n" in response_data and b" 200 " not in line:
            return line.decode("latin-1")
    return ""

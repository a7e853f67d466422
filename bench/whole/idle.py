"""Opens idle streams: streams of running responses that have received all existing events."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import load
from bench.load import wire
from bench.whole.config import UNLIMITED
from bench.whole.system import System

_ANSWER_S = 30
_SOME = 65_536
_TEXT_EVENT = b"event: response.output_text.delta"


@dataclass(frozen=True)
class Opened:
    """The number of open streams, and the reason why no more were opened."""

    open: int
    end: str


@contextmanager
def opened(system: System, ids: Sequence[str], most: int) -> Iterator[Opened]:
    """Open streams of the responses one after another, in turn, until `most` are open or one is rejected.

    The streams are closed on exit.

    Raises:
        load.Failed: the first stream is rejected.
    """
    with ExitStack() as connections:
        count, end = 0, f"all requested streams are open: {most:,}"
        while count < most:
            stream = connections.enter_context(socket.create_connection(("127.0.0.1", system.port), _ANSWER_S))
            if refusal := _refused(stream, system, ids[count % len(ids)]):
                end = f"stream {count + 1:,} was rejected: {refusal}"
                break
            count += 1
        if not count:
            raise load.Failed(end)
        yield Opened(count, end)


def _refused(stream: socket.socket, system: System, response_id: str) -> str:
    """Request a stream and read the existing events; return the status line if it is rejected, otherwise "".

    Raises:
        load.Failed: the stream ended although its response is running.
        TimeoutError: the server sent nothing for `_ANSWER_S` seconds.
    """
    stream.sendall(wire.get(f"/v1/responses/{response_id}?stream=true", system.keys[UNLIMITED.project]).encode())
    received = b""
    while _TEXT_EVENT not in received:
        some = stream.recv(_SOME)
        if not some:
            raise load.Failed(f"A stream ended: {received[:200]!r}")
        received += some
        line = received.partition(b"\r\n")[0]
        if b"\r\n" in received and b" 200 " not in line:
            return line.decode("latin-1")
    return ""

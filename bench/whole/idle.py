"""Streams of running responses that have been given all there is, and wait for more."""

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
    """How many streams are open, and why there are no more, in words."""

    open: int
    end: str


@contextmanager
def opened(system: System, ids: Sequence[str], most: int) -> Iterator[Opened]:
    """Open streams of responses, round and round, one after the other, until one is refused; open inside the block.

    Raises:
        load.Failed: the first one is refused.
    """
    with ExitStack() as connections:
        count, end = 0, f"as many as were asked for: {most:,}"
        while count < most:
            stream = connections.enter_context(socket.create_connection(("127.0.0.1", system.port), _ANSWER_S))
            if refusal := _refused(stream, system, ids[count % len(ids)]):
                end = f"stream {count + 1:,} was refused: {refusal}"
                break
            count += 1
        if not count:
            raise load.Failed(end)
        yield Opened(count, end)


def _refused(stream: socket.socket, system: System, response_id: str) -> str:
    """Ask for a stream and read what there is; the status line of a refusal, else nothing.

    Raises:
        load.Failed: the answer ended, though its response is running.
        TimeoutError: the server is silent for too long.
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

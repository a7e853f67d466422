"""A persistent HTTP/1.1 connection of the load generator, for coroutines."""

import asyncio
import re
from collections.abc import AsyncIterator

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class UnexpectedResponseError(Exception):
    """A response is not as expected. Errors of the same kind have the same message, so that they can be counted."""


class Connection:
    """Sends sequential requests over a TCP connection; opens a new one if a response closes the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def request(self, payload: bytes) -> bytes:
        """Send a complete HTTP request and return the response body. Raises the same errors as `stream_pieces`."""
        return b"".join([piece async for piece in self.stream_pieces(payload)])

    async def stream_pieces(self, payload: bytes) -> AsyncIterator[bytes]:
        """Send a complete HTTP request and yield the response body in the pieces that the server sends.

        Raises:
            UnexpectedResponseError: the status is not 200, or the response does not specify the length of its body.
            OSError, asyncio.IncompleteReadError: the connection failed.
        """
        reader, writer = await self._connect()
        writer.write(payload)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = (
            _read_chunks(reader)
            if _CHUNKED.search(head)
            else _read_fixed_length(reader, int(length[1]) if length else None)
        )
        if head[9:12] != b"200":
            raise UnexpectedResponseError(f"status {head[9:12].decode('latin-1')}")
        async for piece in body:
            yield piece
        if _CLOSE.search(head):
            self.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        chunk_size = int(await reader.readuntil(b"\r\n"), 16)
        chunk = await reader.readexactly(chunk_size + 2)
        if not chunk_size:
            return
        yield chunk[:-2]


async def _read_fixed_length(reader: asyncio.StreamReader, length: int | None) -> AsyncIterator[bytes]:
    if length is None:
        raise UnexpectedResponseError("no Content-Length")
    yield await reader.readexactly(length)

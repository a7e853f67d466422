"""Requests with streamed responses."""

import asyncio
import time
from collections import Counter
from typing import Any, cast


class Reading:
    """State shared by the streams of one run. See `bench.load.Streams`."""

    def __init__(
        self, *, port: int, payloads: list[bytes], connections: int, marker: str, end: str, seconds: float
    ) -> None:
        self.port = port
        self.connections = min(connections, len(payloads))
        self.marker = marker.encode()
        self.end = end.encode()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: Counter[str] = Counter()
        self._payloads = payloads[::-1]
        self._unopened = self.connections
        self._left = len(payloads)
        self._firsts: list[float] = []
        self._tokens = 0
        self._began_at = time.perf_counter()
        self._ended_at = self._began_at
        self._opening: set[asyncio.Task[Any]] = set()
        asyncio.get_running_loop().call_later(seconds, self._late)

    def connection(self) -> "Connection":
        """One of the first `connections` connections; their replacements are opened by `ended`."""
        self._unopened -= 1
        return Connection(self, self._payloads.pop())

    def ended(self, first_s: float | None, tokens: int) -> None:
        """Record the end of a stream, which failed if `first_s` is None, and open the next one."""
        self._left -= 1
        if first_s is None:
            self.errors["broken"] += 1
        else:
            self._firsts.append(first_s)
            self._tokens += tokens
            self._ended_at = time.perf_counter()
        if len(self._payloads) > self._unopened:
            loop = asyncio.get_running_loop()
            connection = Connection(self, self._payloads.pop())
            opening = loop.create_task(loop.create_connection(lambda: connection, "127.0.0.1", self.port))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        elif not self._left and not self.over.done():
            self.over.set_result(None)

    def _late(self) -> None:
        if not self.over.done():
            self.errors["not ended in time"] += self._left
            self.over.set_result(None)

    def figures(self) -> dict[str, Any]:
        return {
            "count": len(self._firsts),
            "errors": dict(self.errors),
            "seconds": self._ended_at - self._began_at,
            "latencies_ms": [1000 * first for first in self._firsts],
            "tokens": self._tokens,
        }


class Connection(asyncio.Protocol):
    """One stream. Markers are counted without parsing, including markers that are split across two reads."""

    def __init__(self, reading: Reading, request: bytes) -> None:
        self._reading = reading
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._tokens = 0
        self._sent_at = 0.0
        self._first_s: float | None = None
        self._whole = False
        self._begun = False
        self._before_marker = b""
        self._before_end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._begun:
            self._begun = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._reading.errors[data[:12].decode(errors="replace")] += 1
                self._transport.abort()
                return
        marked = self._before_marker + data
        found = marked.count(self._reading.marker)
        if found and self._first_s is None:
            self._first_s = time.perf_counter() - self._sent_at
        self._tokens += found
        ending = self._before_end + data
        self._before_marker = _cut(marked, self._reading.marker)
        self._before_end = _cut(ending, self._reading.end)
        if self._reading.end in ending:
            self._whole = True
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._reading.ended(self._first_s if self._whole else None, self._tokens)


def _cut(data: bytes, what: bytes) -> bytes:
    """The end of the data that may begin a split occurrence; shorter than `what`, so that none is counted twice."""
    return data[max(0, len(data) - len(what) + 1) :]

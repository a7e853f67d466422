"""Requests with complete, non-streamed responses over persistent connections."""

import asyncio
import os
import re
import time
from collections import Counter
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# A request that is unanswered this long after the end of the run is an error.
_LATE_S = 30
_HEAD_END = b"\r\n\r\n"
# In a payload, the position of text that differs in every request, such as an idempotency key.
_UNIQUE = b"{unique}"
# A poll with If-None-Match whose response has not changed has no body.
_NOT_MODIFIED = b"304"
_SUCCESSES = frozenset({b"200", _NOT_MODIFIED})


class Loop:
    """State shared by the connections of one run. See `bench.load.Requests`."""

    def __init__(
        self, *, port: int, payloads: list[bytes], connections: int, seconds: float, count: int, warm_s: float
    ) -> None:
        self.port = port
        self.connections = connections
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: Counter[str] = Counter()
        self._payloads = payloads
        self._prefix = os.urandom(8).hex()
        self._next = 0
        self._left = connections
        self._latencies: list[float] = []
        self._count = count
        self._began_at = time.perf_counter() + warm_s
        self._ended_at = self._began_at
        self._until = self._began_at + seconds
        asyncio.get_running_loop().call_later(warm_s + seconds + _LATE_S, self._late)

    def connection(self) -> "Connection":
        return Connection(self)

    def take(self, now: float) -> bytes | None:
        """The next request; None at the end of the run."""
        if now >= self._until or (self._count and self._next >= self._count):
            return None
        self._next += 1
        payload = self._payloads[(self._next - 1) % len(self._payloads)]
        return payload.replace(_UNIQUE, b"%b-%d" % (self._prefix.encode(), self._next))

    def answered(self, sent_at: float, now: float) -> None:
        """Record a successful response."""
        if sent_at >= self._began_at:
            self._latencies.append(now - sent_at)
            self._ended_at = now

    def leave(self) -> None:
        """Record that a connection has closed."""
        self._left -= 1
        if not self._left and not self.over.done():
            self.over.set_result(None)

    def _late(self) -> None:
        if not self.over.done():
            self.errors["no response"] += self._left
            self.over.set_result(None)

    def figures(self) -> dict[str, Any]:
        return {
            "count": len(self._latencies),
            "errors": dict(self.errors),
            "seconds": self._ended_at - self._began_at,
            "latencies_ms": [1000 * latency for latency in self._latencies],
            "tokens": 0,
        }


class Connection(asyncio.Protocol):
    """One persistent connection. Only the status and the length of each response are parsed."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing: int | None = None  # bytes of the body; None until the head is complete
        self._status = b""
        self._sent_at = 0.0
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self._send(time.perf_counter())

    def _send(self, now: float) -> None:
        assert self._transport is not None
        request = self._loop.take(now)
        self._waits = request is not None
        if request is None:
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            data = self._head + data
            split = data.find(_HEAD_END)
            if split < 0:
                self._head = data
                return
            self._head = b""
            self._status = data[9:12]
            length = _LENGTH.search(data, 0, split + 2)
            if self._status == _NOT_MODIFIED:
                self._missing = split + 4 - len(data)
            elif length is None:
                self._fail("no Content-Length")
                return
            else:
                self._missing = int(length[1]) - (len(data) - split - 4)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._answered()
        elif self._missing < 0:
            self._fail("longer than Content-Length")

    def _answered(self) -> None:
        now = time.perf_counter()
        self._missing = None
        if self._status in _SUCCESSES:
            self._loop.answered(self._sent_at, now)
        else:
            self._loop.errors[f"status {self._status.decode()}"] += 1
        self._send(now)

    def _fail(self, why: str) -> None:
        assert self._transport is not None
        self._loop.errors[why] += 1
        self._waits = False
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waits:
            self._loop.errors["closed"] += 1
        self._loop.leave()

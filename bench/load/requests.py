"""Sends requests over persistent connections and reads their non-streamed responses."""

import asyncio
import os
import re
import time
from collections import Counter
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# A request without a response this long after the end of the load is an error.
_GRACE_S = 30
_HEAD_END = b"\r\n\r\n"
# Placeholder in a payload for text that differs in every request, such as an idempotency key.
_UNIQUE = b"{unique}"
# Status of the reply, without a body, to a poll with If-None-Match if the response has not changed.
_NOT_MODIFIED = b"304"
_SUCCESSES = frozenset({b"200", _NOT_MODIFIED})


class RequestRunner:
    """Runs one `bench.load.Requests`, and holds the state that its connections share."""

    def __init__(
        self, *, port: int, payloads: list[bytes], connections: int, seconds: float, count: int, warm_up_s: float
    ) -> None:
        self.port = port
        self.connections = connections
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: Counter[str] = Counter()
        self._payloads = payloads
        self._unique_prefix = os.urandom(8).hex()
        self._sent_requests = 0
        self._open_connections = connections
        self._latencies_s: list[float] = []
        self._max_requests = count
        self._measured_from = time.perf_counter() + warm_up_s
        self._last_response_at = self._measured_from
        self._measured_until = self._measured_from + seconds
        asyncio.get_running_loop().call_later(warm_up_s + seconds + _GRACE_S, self._record_timeout)

    def create_connection(self) -> "RequestConnection":
        return RequestConnection(self)

    def next_request(self, now: float) -> bytes | None:
        """Return the next request, or None if the load has ended."""
        if now >= self._measured_until or (self._max_requests and self._sent_requests >= self._max_requests):
            return None
        self._sent_requests += 1
        payload = self._payloads[(self._sent_requests - 1) % len(self._payloads)]
        return payload.replace(_UNIQUE, b"%b-%d" % (self._unique_prefix.encode(), self._sent_requests))

    def record_success(self, sent_at: float, now: float) -> None:
        """Record a successful response, unless its request belongs to the warm-up."""
        if sent_at >= self._measured_from:
            self._latencies_s.append(now - sent_at)
            self._last_response_at = now

    def record_close(self) -> None:
        """Record that a connection has closed; the load has finished when all connections have closed."""
        self._open_connections -= 1
        if not self._open_connections and not self.finished.done():
            self.finished.set_result(None)

    def _record_timeout(self) -> None:
        if not self.finished.done():
            self.errors["no response"] += self._open_connections
            self.finished.set_result(None)

    def figures(self) -> dict[str, Any]:
        """Return the fields of `bench.load.Figures` except `cpu_s`."""
        return {
            "count": len(self._latencies_s),
            "errors": dict(self.errors),
            "seconds": self._last_response_at - self._measured_from,
            "latencies_ms": [1000 * latency_s for latency_s in self._latencies_s],
            "tokens": 0,
        }


class RequestConnection(asyncio.Protocol):
    """One persistent connection. Only the status and the length of each response are parsed."""

    def __init__(self, runner: RequestRunner) -> None:
        self._runner = runner
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing_bytes: int | None = None  # bytes of the body not yet received; None until the head is complete
        self._status = b""
        self._sent_at = 0.0
        self._is_waiting = False  # for a response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not an asyncio.Transport
        self._send(time.perf_counter())

    def _send(self, now: float) -> None:
        assert self._transport is not None
        request = self._runner.next_request(now)
        self._is_waiting = request is not None
        if request is None:
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing_bytes is None:
            data = self._head + data
            head_end = data.find(_HEAD_END)
            if head_end < 0:
                self._head = data
                return
            self._head = b""
            self._status = data[9:12]
            length = _LENGTH.search(data, 0, head_end + 2)
            if self._status == _NOT_MODIFIED:
                self._missing_bytes = head_end + 4 - len(data)
            elif length is None:
                self._fail("no Content-Length")
                return
            else:
                self._missing_bytes = int(length[1]) - (len(data) - head_end - 4)
        else:
            self._missing_bytes -= len(data)
        if self._missing_bytes == 0:
            self._finish_response()
        elif self._missing_bytes < 0:
            self._fail("longer than Content-Length")

    def _finish_response(self) -> None:
        now = time.perf_counter()
        self._missing_bytes = None
        if self._status in _SUCCESSES:
            self._runner.record_success(self._sent_at, now)
        else:
            self._runner.errors[f"status {self._status.decode()}"] += 1
        self._send(now)

    def _fail(self, reason: str) -> None:
        assert self._transport is not None
        self._runner.errors[reason] += 1
        self._is_waiting = False
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if self._is_waiting:
            self._runner.errors["closed"] += 1
        self._runner.record_close()

"""Sends requests and reads their streamed responses."""

import asyncio
import time
from collections import Counter
from typing import Any, cast


class StreamRunner:
    """Runs one `bench.load.Streams`, and holds the state that its connections share."""

    def __init__(
        self, *, port: int, payloads: list[bytes], connections: int, marker: str, end: str, seconds: float
    ) -> None:
        self.port = port
        self.connections = min(connections, len(payloads))
        self.marker = marker.encode()
        self.end = end.encode()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.errors: Counter[str] = Counter()
        self._payloads = payloads[::-1]
        self._unopened_connections = self.connections
        self._remaining_streams = len(payloads)
        self._first_token_latencies_s: list[float] = []
        self._tokens = 0
        self._began_at = time.perf_counter()
        self._ended_at = self._began_at
        self._opening_tasks: set[asyncio.Task[Any]] = set()
        asyncio.get_running_loop().call_later(seconds, self._record_timeout)

    def create_connection(self) -> "StreamConnection":
        """Create one of the first `connections` connections; `record_end` opens all later connections."""
        self._unopened_connections -= 1
        return StreamConnection(self, self._payloads.pop())

    def record_end(self, first_token_s: float | None, tokens: int) -> None:
        """Record the end of a stream and open the next stream; `first_token_s` is None if the stream failed."""
        self._remaining_streams -= 1
        if first_token_s is None:
            self.errors["broken"] += 1
        else:
            self._first_token_latencies_s.append(first_token_s)
            self._tokens += tokens
            self._ended_at = time.perf_counter()
        if len(self._payloads) > self._unopened_connections:
            loop = asyncio.get_running_loop()
            connection = StreamConnection(self, self._payloads.pop())
            task = loop.create_task(loop.create_connection(lambda: connection, "127.0.0.1", self.port))
            self._opening_tasks.add(task)
            task.add_done_callback(self._opening_tasks.discard)
        elif not self._remaining_streams and not self.finished.done():
            self.finished.set_result(None)

    def _record_timeout(self) -> None:
        if not self.finished.done():
            self.errors["not ended in time"] += self._remaining_streams
            self.finished.set_result(None)

    def figures(self) -> dict[str, Any]:
        """Return the fields of `bench.load.Figures` except `cpu_s`."""
        return {
            "count": len(self._first_token_latencies_s),
            "errors": dict(self.errors),
            "seconds": self._ended_at - self._began_at,
            "latencies_ms": [1000 * latency_s for latency_s in self._first_token_latencies_s],
            "tokens": self._tokens,
        }


class StreamConnection(asyncio.Protocol):
    """A connection with one stream, which is not parsed; a marker that is split across two reads is counted, too."""

    def __init__(self, runner: StreamRunner, request: bytes) -> None:
        self._runner = runner
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._tokens = 0
        self._sent_at = 0.0
        self._first_token_s: float | None = None
        self._is_complete = False
        self._has_status = False
        self._marker_tail = b""
        self._end_tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not an asyncio.Transport
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._has_status:
            self._has_status = True
            if not data.startswith(b"HTTP/1.1 200"):
                self._runner.errors[data[:12].decode(errors="replace")] += 1
                self._transport.abort()
                return
        marker_data = self._marker_tail + data
        new_tokens = marker_data.count(self._runner.marker)
        if new_tokens and self._first_token_s is None:
            self._first_token_s = time.perf_counter() - self._sent_at
        self._tokens += new_tokens
        end_data = self._end_tail + data
        self._marker_tail = _possible_beginning(marker_data, self._runner.marker)
        self._end_tail = _possible_beginning(end_data, self._runner.end)
        if self._runner.end in end_data:
            self._is_complete = True
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._runner.record_end(self._first_token_s if self._is_complete else None, self._tokens)


def _possible_beginning(data: bytes, text: bytes) -> bytes:
    """Return the last `len(text) - 1` bytes of the data, in which another `text` may begin.

    They are too short to contain a complete `text`, so that no `text` is counted twice.
    """
    return data[max(0, len(data) - len(text) + 1) :]

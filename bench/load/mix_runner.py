"""Runs the clients of a mix: each turn is a coroutine that follows one response to its end."""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from bench.load import wire
from bench.load.connection import Connection, UnexpectedResponseError

# Clients wait 20, 40, 80, ... ms before each poll.
_FIRST_POLL_DELAY_S = 0.02
_MAX_POLL_DELAY_S = 1.0
_TURN_TIMEOUT_S = 60
_FAILURES = (OSError, EOFError, ValueError, TimeoutError, UnexpectedResponseError)


class MixRunner:
    """Runs one `bench.load.mixes.Mix`, and holds the state that its clients share."""

    def __init__(
        self,
        *,
        port: int,
        key: str,
        turns: list[dict[str, str]],
        marker: str,
        seconds: float,
        clients: int,
        rate_per_s: float,
    ) -> None:
        self._port = port
        self._key = key
        self._turns = [(turn["kind"], turn["payload"].encode("latin-1")) for turn in turns]
        self._started_turns = 0
        self._marker = marker.encode()
        self._seconds = seconds
        self._clients = clients
        self._rate_per_s = rate_per_s
        self._idle_connections: list[Connection] = []
        self._completed_turns: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latencies_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._polls = 0
        self._tokens = 0
        self._functions_by_kind: dict[str, Callable[[Connection, bytes, float], Awaitable[None]]] = {
            "background": self._follow_background,
            "foreground": self._follow_foreground,
            "stream": self._follow_stream,
            "cancel": self._follow_cancel,
        }

    async def run(self) -> dict[str, Any]:
        """Run the mix until all of its turns have ended; return the fields of `MixFigures` except `cpu_s`."""
        began_at = time.perf_counter()
        await (self._run_closed(began_at) if self._clients else self._run_open(began_at))
        ended_at = time.perf_counter()
        for connection in self._idle_connections:
            connection.close()
        return {
            "turns": dict(self._completed_turns),
            "polls": self._polls,
            "errors": dict(self._errors),
            "seconds": ended_at - began_at,
            "latencies_ms": {name: sorted(samples) for name, samples in self._latencies_ms.items()},
            "tokens": self._tokens,
        }

    async def _run_closed(self, began_at: float) -> None:
        async def run_client() -> None:
            while True:
                now = time.perf_counter()
                is_round_complete = self._started_turns % len(self._turns) == 0
                if now >= began_at + self._seconds and is_round_complete:
                    return
                await self._run_turn(now)

        async with asyncio.TaskGroup() as clients:
            for _ in range(self._clients):
                clients.create_task(run_client())

    async def _run_open(self, began_at: float) -> None:
        async with asyncio.TaskGroup() as turns:
            for number in range(_round_up(self._rate_per_s * self._seconds, len(self._turns))):
                due_at = began_at + number / self._rate_per_s
                await asyncio.sleep(max(0, due_at - time.perf_counter()))
                turns.create_task(self._run_turn(due_at))

    async def _run_turn(self, began_at: float) -> None:
        kind, payload = self._turns[self._started_turns % len(self._turns)]
        self._started_turns += 1
        connection = self._idle_connections.pop() if self._idle_connections else Connection(self._port)
        try:
            async with asyncio.timeout(_TURN_TIMEOUT_S):
                await self._functions_by_kind[kind](connection, payload, began_at)
        except _FAILURES as error:
            self._errors[f"{kind}: {error or type(error).__name__}"] += 1
            connection.close()
        else:
            self._completed_turns[kind] += 1
            self._idle_connections.append(connection)

    def _record_latency(self, name: str, began_at: float) -> None:
        self._latencies_ms[name].append(1000 * (time.perf_counter() - began_at))

    async def _follow_background(self, connection: Connection, payload: bytes, began_at: float) -> None:
        created = await _request_object(connection, payload)
        self._record_latency("create", began_at)
        ended = await self._poll_while(connection, created["id"], ("queued", "in_progress"))
        _check_status(ended, "completed")
        self._record_latency("background", began_at)

    async def _follow_foreground(self, connection: Connection, payload: bytes, began_at: float) -> None:
        _check_status(await _request_object(connection, payload), "completed")
        self._record_latency("foreground", began_at)

    async def _follow_cancel(self, connection: Connection, payload: bytes, _: float) -> None:
        created = await _request_object(connection, payload)
        started = await self._poll_while(connection, created["id"], ("queued",))
        _check_status(started, "in_progress")
        cancel_request = wire.post_request(f"/v1/responses/{created['id']}/cancel", {}, self._key)
        sent_at = time.perf_counter()
        cancelled = await _request_object(connection, cancel_request.encode("latin-1"))
        _check_status(cancelled, "cancelled")
        self._record_latency("cancel", sent_at)

    async def _follow_stream(self, connection: Connection, payload: bytes, began_at: float) -> None:
        response_data = bytearray()
        token_count = 0
        async for piece in connection.stream_pieces(payload):
            if not response_data:
                self._record_latency("first event", began_at)
            new_tokens = piece.count(self._marker)
            if new_tokens and not token_count:
                self._record_latency("first token", began_at)
            token_count += new_tokens
            response_data += piece
        if b"event: response.completed\n" not in response_data:
            raise UnexpectedResponseError("a stream without `response.completed`")
        self._record_latency("stream", began_at)
        self._tokens += token_count

    async def _poll_while(self, connection: Connection, response_id: str, statuses: tuple[str, ...]) -> dict[str, Any]:
        """Poll a response until it has a status that is not in `statuses`, and return the response."""
        payload = wire.get_request(f"/v1/responses/{response_id}", self._key).encode("latin-1")
        delay_s = _FIRST_POLL_DELAY_S
        while True:
            await asyncio.sleep(delay_s)
            self._polls += 1
            response = await _request_object(connection, payload)
            if response["status"] not in statuses:
                return response
            delay_s = min(2 * delay_s, _MAX_POLL_DELAY_S)


def _round_up(count: float, factor: int) -> int:
    """Return the smallest multiple of `factor` that is not less than `count`."""
    return factor * math.ceil(count / factor)


async def _request_object(connection: Connection, payload: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(await connection.request(payload))
    return document


def _check_status(response: dict[str, Any], expected_status: str) -> None:
    if response["status"] != expected_status:
        raise UnexpectedResponseError(f"{response['status']}, not {expected_status}")

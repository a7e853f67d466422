"""Runs the clients of a mix: each turn is a coroutine that follows one response to its end."""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from bench.load import wire
from bench.load.connection import Connection, Unexpected

# Clients poll after 20, 40, 80, ... ms.
_FIRST_POLL_S = 0.02
_LONGEST_POLL_S = 1.0
# Timeout of a turn.
_TURN_S = 60
_FAILURES = (OSError, EOFError, ValueError, TimeoutError, Unexpected)


class Mixing:
    """State shared by the clients of one run. See `bench.load.mixes.Mix`."""

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
        self._begun = 0
        self._marker = marker.encode()
        self._seconds = seconds
        self._clients = clients
        self._rate_per_s = rate_per_s
        self._idle: list[Connection] = []
        self._done: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)
        self._polls = 0
        self._tokens = 0
        self._kinds: dict[str, Callable[[Connection, bytes, float], Awaitable[None]]] = {
            "background": self._background,
            "foreground": self._foreground,
            "stream": self._stream,
            "cancel": self._cancel,
        }

    async def figures(self) -> dict[str, Any]:
        """Run all turns to their end and return their figures."""
        began_at = time.perf_counter()
        await (self._closed(began_at) if self._clients else self._open(began_at))
        ended_at = time.perf_counter()
        for connection in self._idle:
            connection.close()
        return {
            "turns": dict(self._done),
            "polls": self._polls,
            "errors": dict(self._errors),
            "seconds": ended_at - began_at,
            "latencies_ms": {name: sorted(found) for name, found in self._latencies.items()},
            "tokens": self._tokens,
        }

    async def _closed(self, began_at: float) -> None:
        async def client() -> None:
            while (now := time.perf_counter()) < began_at + self._seconds or self._begun % len(self._turns):
                await self._turn(now)

        async with asyncio.TaskGroup() as clients:
            for _ in range(self._clients):
                clients.create_task(client())

    async def _open(self, began_at: float) -> None:
        async with asyncio.TaskGroup() as turns:
            for number in range(_up_to_multiple(self._rate_per_s * self._seconds, len(self._turns))):
                due_at = began_at + number / self._rate_per_s
                await asyncio.sleep(max(0, due_at - time.perf_counter()))
                turns.create_task(self._turn(due_at))

    async def _turn(self, began_at: float) -> None:
        kind, payload = self._turns[self._begun % len(self._turns)]
        self._begun += 1
        connection = self._idle.pop() if self._idle else Connection(self._port)
        try:
            async with asyncio.timeout(_TURN_S):
                await self._kinds[kind](connection, payload, began_at)
        except _FAILURES as error:
            self._errors[f"{kind}: {error or type(error).__name__}"] += 1
            connection.close()
        else:
            self._done[kind] += 1
            self._idle.append(connection)

    def _note(self, latency: str, began_at: float) -> None:
        self._latencies[latency].append(1000 * (time.perf_counter() - began_at))

    async def _background(self, connection: Connection, payload: bytes, began_at: float) -> None:
        created = await _object(connection, payload)
        self._note("create", began_at)
        _expect(await self._polled(connection, created["id"], ("queued", "in_progress")), "completed")
        self._note("background", began_at)

    async def _foreground(self, connection: Connection, payload: bytes, began_at: float) -> None:
        _expect(await _object(connection, payload), "completed")
        self._note("foreground", began_at)

    async def _cancel(self, connection: Connection, payload: bytes, _: float) -> None:
        created = await _object(connection, payload)
        path = f"/v1/responses/{created['id']}/cancel"
        _expect(await self._polled(connection, created["id"], ("queued",)), "in_progress")
        sent_at = time.perf_counter()
        _expect(await _object(connection, wire.post(path, {}, self._key).encode("latin-1")), "cancelled")
        self._note("cancel", sent_at)

    async def _stream(self, connection: Connection, payload: bytes, began_at: float) -> None:
        received = bytearray()
        tokens = 0
        async for piece in connection.pieces(payload):
            if not received:
                self._note("first event", began_at)
            found = piece.count(self._marker)
            if found and not tokens:
                self._note("first token", began_at)
            tokens += found
            received += piece
        if b"event: response.completed\n" not in received:
            raise Unexpected("a stream without `response.completed`")
        self._note("stream", began_at)
        self._tokens += tokens

    async def _polled(self, connection: Connection, response_id: str, while_: tuple[str, ...]) -> dict[str, Any]:
        """Poll a response while its status is one of `while_`, and return it."""
        payload = wire.get(f"/v1/responses/{response_id}", self._key).encode("latin-1")
        pause_s = _FIRST_POLL_S
        while True:
            await asyncio.sleep(pause_s)
            self._polls += 1
            found = await _object(connection, payload)
            if found["status"] not in while_:
                return found
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)


def _up_to_multiple(count: float, of: int) -> int:
    return of * math.ceil(count / of)


async def _object(connection: Connection, payload: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await connection.request(payload))
    return found


def _expect(found: dict[str, Any], status: str) -> None:
    if found["status"] != status:
        raise Unexpected(f"{found['status']}, not {status}")

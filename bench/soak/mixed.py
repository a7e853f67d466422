"""Puts a steady load of all client operations on a deployment, at fixed rates."""

import http.client
import itertools
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

from bench.client import Client
from bench.deployment import Deployment, background_body

MODEL = "20-tokens-at-once"
SLOW_MODEL = "20-tokens-every-50ms"
HANGING_MODEL = "1-tokens-at-once-then-hang"
MODELS = (MODEL, SLOW_MODEL, HANGING_MODEL)
_POLL_INTERVAL_S = 0.2
_STORED_RESPONSES = 200
_END_TIMEOUT_S = 60
_ID = re.compile(rb"resp_[0-9a-f]{48}")


class _Rate(NamedTuple):
    """The number of operations per second, and the number of clients that share them."""

    per_s: float
    clients: int


_RATES = {"background": _Rate(6, 4), "stream": _Rate(3, 6), "cancel": _Rate(2, 2), "poll": _Rate(15, 2)}


class MixedLoad:
    """Context manager that runs the clients of the load in threads of this process.

    The oldest ended responses are deleted, so that the number of stored responses stays constant.

    Attributes:
        completions: number of completed operations by name.
        errors: number of failures by description.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.completions: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._deployment = deployment
        self._stored_ids: deque[str] = deque()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(sum(rate.clients for rate in _RATES.values()))
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Self:
        operations = {
            "background": self._run_in_background,
            "stream": self._stream,
            "cancel": self._cancel,
            "poll": self._poll,
        }
        for name, rate in _RATES.items():
            interval_s = rate.clients / rate.per_s
            for number in range(rate.clients):
                delay_s = number / rate.per_s
                self._futures.append(self._threads.submit(self._repeat, name, operations[name], interval_s, delay_s))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()
        for future in self._futures:
            future.result()

    def _repeat(self, name: str, operation: Callable[[Client], None], interval_s: float, delay_s: float) -> None:
        """Run an operation after `delay_s`, then every `interval_s`; a late operation does not change the schedule."""
        began_at = time.monotonic() + delay_s
        numbers = itertools.count()
        client = Client(self._deployment.port, self._deployment.key)
        while not self._stop.wait(max(0, began_at + next(numbers) * interval_s - time.monotonic())):
            try:
                operation(client)
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                self._count(self.errors, f"{name}: {error!r:.200}")
                client.close()
            else:
                self._count(self.completions, name)
        client.close()

    def _count(self, counter: Counter[str], name: str) -> None:
        with self._lock:
            counter[name] += 1

    def _run_in_background(self, client: Client) -> None:
        self._wait_for_end(client, client.post("/responses", background_body(MODEL))["id"], "completed")

    def _cancel(self, client: Client) -> None:
        response_id = client.post("/responses", background_body(HANGING_MODEL))["id"]
        time.sleep(_POLL_INTERVAL_S)
        client.post(f"/responses/{response_id}/cancel")
        self._wait_for_end(client, response_id, "cancelled")

    def _wait_for_end(self, client: Client, response_id: str, expected_status: str) -> None:
        """Poll a response until it ends, and check that it has the expected status."""
        deadline = time.monotonic() + _END_TIMEOUT_S
        while (status := client.get(f"/responses/{response_id}")["status"]) in {"queued", "in_progress"}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{response_id} did not end within {_END_TIMEOUT_S} s.")
            time.sleep(_POLL_INTERVAL_S)
        if status != expected_status:
            raise RuntimeError(f"A response is {status}, not {expected_status}.")
        self._add_stored(client, response_id)

    def _stream(self, client: Client) -> None:
        body = {"model": SLOW_MODEL, "input": "Say something.", "stream": True}
        stream_data = client.stream("/responses", body)
        if b"event: response.completed" not in stream_data:
            raise RuntimeError(f"A stream ended with {stream_data[-200:]!r}.")
        match = _ID.search(stream_data)
        if match is not None:
            self._add_stored(client, match[0].decode())

    def _poll(self, client: Client) -> None:
        with self._lock:
            response_id = self._stored_ids[-1] if self._stored_ids else None
        if response_id is not None:
            client.get(f"/responses/{response_id}")

    def _add_stored(self, client: Client, response_id: str) -> None:
        """Record an ended response, and delete the oldest one if more than `_STORED_RESPONSES` are stored."""
        with self._lock:
            self._stored_ids.append(response_id)
            oldest_id = self._stored_ids.popleft() if len(self._stored_ids) > _STORED_RESPONSES else None
        if oldest_id is not None:
            client.delete(f"/responses/{oldest_id}")

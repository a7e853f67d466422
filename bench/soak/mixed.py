"""A steady load of all client operations at fixed rates, instead of at maximum speed."""

import http.client
import itertools
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from bench.client import Client
from bench.deployment import Deployment, background

MODEL = "20-tokens-at-once"
SLOW_MODEL = "20-tokens-every-50ms"
HANGING_MODEL = "1-tokens-at-once-then-hang"
MODELS = (MODEL, SLOW_MODEL, HANGING_MODEL)
# Operations per second, and the number of connections for them.
_RATES = {"background": (6, 4), "stream": (3, 6), "cancel": (2, 2), "poll": (15, 2)}
_POLL_S = 0.2
_KEPT = 200
_WITHIN_S = 60
_ID = re.compile(rb"resp_[0-9a-f]{48}")


class Mixed:
    """Context manager that runs the clients in threads of this process.

    Ended responses are deleted except for the most recent ones, so that the number of stored responses stays constant.

    Attributes:
        done: number of completed operations by name.
        errors: number of failures by description.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._deployment = deployment
        self._kept: deque[str] = deque()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(sum(threads for _, threads in _RATES.values()))
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        doing = {"background": self._background, "stream": self._stream, "cancel": self._cancel, "poll": self._poll}
        for name, (rate, threads) in _RATES.items():
            for number in range(threads):
                self._running.append(
                    self._threads.submit(self._repeat, name, doing[name], threads / rate, number / rate)
                )
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._threads.shutdown()
        for one in self._running:
            one.result()

    def _repeat(self, name: str, do: Callable[[Client], None], every_s: float, after_s: float) -> None:
        """Repeat one operation every `every_s`, first after `after_s`; if one is late, the next follows immediately."""
        began_at = time.monotonic() + after_s
        turns = itertools.count()
        client = Client(self._deployment.port, self._deployment.key)
        while not self._over.wait(max(0, began_at + next(turns) * every_s - time.monotonic())):
            try:
                do(client)
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                self._count(self.errors, f"{name}: {error!r:.200}")
                client.close()
            else:
                self._count(self.done, name)
        client.close()

    def _count(self, counter: Counter[str], name: str) -> None:
        with self._lock:
            counter[name] += 1

    def _background(self, client: Client) -> None:
        self._ended(client, client.post("/responses", background(MODEL))["id"], "completed")

    def _cancel(self, client: Client) -> None:
        response_id = client.post("/responses", background(HANGING_MODEL))["id"]
        time.sleep(_POLL_S)
        client.post(f"/responses/{response_id}/cancel")
        self._ended(client, response_id, "cancelled")

    def _ended(self, client: Client, response_id: str, status: str) -> None:
        """Poll a response until it ends, and check that it has the expected status."""
        until = time.monotonic() + _WITHIN_S
        while (found := client.get(f"/responses/{response_id}")["status"]) in {"queued", "in_progress"}:
            if time.monotonic() > until:
                raise RuntimeError(f"{response_id} did not end within {_WITHIN_S} s.")
            time.sleep(_POLL_S)
        if found != status:
            raise RuntimeError(f"A response is {found}, not {status}.")
        self._keep(client, response_id)

    def _stream(self, client: Client) -> None:
        body = {"model": SLOW_MODEL, "input": "Say something.", "stream": True}
        received = client.stream("/responses", body)
        if b"event: response.completed" not in received:
            raise RuntimeError(f"A stream ended with {received[-200:]!r}.")
        found = _ID.search(received)
        if found is not None:
            self._keep(client, found[0].decode())

    def _poll(self, client: Client) -> None:
        with self._lock:
            response_id = self._kept[-1] if self._kept else None
        if response_id is not None:
            client.get(f"/responses/{response_id}")

    def _keep(self, client: Client, response_id: str) -> None:
        """Add a response to the recent ones, and delete the oldest one if there are more than `_KEPT`."""
        with self._lock:
            self._kept.append(response_id)
            oldest = self._kept.popleft() if len(self._kept) > _KEPT else None
        if oldest is not None:
            client.delete(f"/responses/{oldest}")

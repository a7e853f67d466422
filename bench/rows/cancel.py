"""Measures the time from a cancel until the connection to the model server is closed."""

import time
from itertools import count
from typing import Any

from bench.client import Client
from bench.deployment import background
from bench.load import percentile
from bench.run import Run
from bench.targets import Row

_MODEL = "1-tokens-at-once-then-hang"
_LOOK_S = 0.005
_SETTLE_S = 0.03
_WITHIN_S = 10
_tags = count()


def measure(run: Run) -> None:
    """Add the rows `cancel`."""
    run.deployment.start("worker")
    found = run.interleaved(path=lambda: _closed_ms(run))["path"]
    run.add(Row("cancel p50", [percentile(one, 0.5) for one in found]))
    run.add(Row("cancel p99", [percentile(one, 0.99) for one in found]))
    run.deployment.forget()


def _closed_ms(run: Run) -> list[float]:
    """Milliseconds of each cancel, sorted."""
    with Client(run.deployment.port, run.deployment.key) as client:
        run.machine.models.reset()
        return sorted(_one(run, client, f"tag-{next(_tags)}") for _ in range(run.sizes.trips))


def _one(run: Run, client: Client, tag: str) -> float:
    response_id = client.post("/responses", background(_MODEL, tag))["id"]
    _stream(run, tag, "asked_at")
    time.sleep(_SETTLE_S)  # until the first token has been written and the system is idle
    began_at = time.monotonic()
    client.post(f"/responses/{response_id}/cancel")
    return 1000 * (_stream(run, tag, "closed_at") - began_at)


def _stream(run: Run, tag: str, instant: str) -> float:
    """Wait for a time of a tagged answer of the model server, and return it."""
    until = time.monotonic() + _WITHIN_S
    while time.monotonic() < until:
        stream: dict[str, Any] = run.machine.models.report()["streams"].get(tag, {})
        if stream.get(instant) is not None:
            return float(stream[instant])
        time.sleep(_LOOK_S)
    raise TimeoutError(f"The model server recorded no {instant} for {tag} within {_WITHIN_S} s.")

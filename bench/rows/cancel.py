"""Measures the time from a cancel request until the worker closes the connection to the model server."""

import time
from itertools import count
from typing import Any

from bench.client import Client
from bench.deployment import background_body
from bench.load import percentile
from bench.run import Run
from bench.targets import Row

_MODEL = "1-tokens-at-once-then-hang"
_POLL_INTERVAL_S = 0.005
_SETTLE_TIME_S = 0.03
_TIMEOUT_S = 10
_tag_numbers = count()


def measure(run: Run) -> None:
    """Add the rows `cancel p50` and `cancel p99`."""
    run.deployment.start("worker")
    latencies = run.interleave(product=lambda: _measure_cancels(run))["product"]
    run.add(Row("cancel p50", [percentile(repetition, 0.5) for repetition in latencies]))
    run.add(Row("cancel p99", [percentile(repetition, 0.99) for repetition in latencies]))
    run.deployment.delete_responses()


def _measure_cancels(run: Run) -> list[float]:
    """Run and cancel responses one after another; return the latency of each cancel in milliseconds, sorted."""
    with Client(run.deployment.port, run.deployment.key) as client:
        run.servers.model_server.reset()
        return sorted(
            _measure_cancel(run, client, f"tag-{next(_tag_numbers)}") for _ in range(run.sizes.round_trip_count)
        )


def _measure_cancel(run: Run, client: Client, tag: str) -> float:
    """Run a response and cancel it; return the latency of the cancel in milliseconds."""
    response_id = client.post("/responses", background_body(_MODEL, tag))["id"]
    _wait_for_time(run, tag, "requested_at")
    time.sleep(_SETTLE_TIME_S)  # until the first token has been written and the system is idle
    began_at = time.monotonic()
    client.post(f"/responses/{response_id}/cancel")
    return 1000 * (_wait_for_time(run, tag, "closed_at") - began_at)


def _wait_for_time(run: Run, tag: str, field: str) -> float:
    """Wait until the model server has recorded the time `field` of a tagged response, and return it."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        stream: dict[str, Any] = run.servers.model_server.report()["streams"].get(tag, {})
        if stream.get(field) is not None:
            return float(stream[field])
        time.sleep(_POLL_INTERVAL_S)
    raise TimeoutError(f"The model server recorded no {field} for {tag} within {_TIMEOUT_S} s.")

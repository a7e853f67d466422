"""Compares the time from submit to `in_progress` in an idle system with the round trip of a no-op Celery task."""

import contextlib
import functools
import time
from statistics import median

from bench import load
from bench.client import Client
from bench.deployment import WORKER_SLOTS, background_body
from bench.floors import tasks
from bench.load import wire
from bench.run import Run
from bench.targets import build_ratio_row

_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the row `pickup`."""
    run.deployment.start("worker")
    with contextlib.ExitStack() as contexts:
        open_sender = functools.cache(lambda: _open_sender(run, contexts))
        latencies = run.interleave(
            floor=run.cache_floor(
                "Celery round trip",
                lambda: median(open_sender().measure_round_trip_ms() for _ in range(run.sizes.round_trip_count)),
            ),
            product=lambda: _measure_start_ms(run),
            stream=lambda: _measure_stream_event_ms(run),
        )
    run.add(build_ratio_row("pickup", latencies["product"], latencies["floor"]))
    run.extra_figures["ms from submit until the client's stream contains in_progress, p50"] = round(
        median(latencies["stream"]), 2
    )


def _open_sender(run: Run, contexts: contextlib.ExitStack) -> tasks.Sender:
    """Start a worker and a sender of no-op tasks, warm both up, and return the sender."""
    url = run.servers.empty_redis_database(tasks.REDIS_NUMBER)
    sender = contexts.enter_context(tasks.open_sender(url))
    contexts.enter_context(tasks.run_worker(url, WORKER_SLOTS, run.servers.home))
    sender.measure_round_trip_ms()
    return sender


def _measure_start_ms(run: Run) -> float:
    """Measure the median time from a submit to the start of the transaction that sets `in_progress`."""
    deployment = run.deployment
    deployment.delete_responses()
    sent_at: dict[str, float] = {}
    with Client(deployment.port, deployment.key) as client:
        for trip in range(run.sizes.round_trip_count):
            now = time.time()
            sent_at[client.post("/responses", background_body(_MODEL))["id"]] = now
            deployment.wait_until_ended(trip + 1, poll_interval_s=0.01)
    rows = deployment.sql("select id, extract(epoch from started_at)::float from responses")
    return 1000 * float(median(started_at - sent_at[response_id] for response_id, started_at in rows))


def _measure_stream_event_ms(run: Run) -> float:
    """Measure the median time from a submit until the client receives the `in_progress` event on its stream."""
    body = background_body(_MODEL) | {"stream": True}
    payloads = [wire.post_request("/v1/responses", body, run.deployment.key)] * run.sizes.round_trip_count
    marker = "event: response.in_progress"
    return load.run(load.Streams(run.deployment.port, payloads, 1, marker=marker, end="[DONE]")).p50_ms

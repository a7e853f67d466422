"""Measures the memory and storage that waiting responses, running responses and idle streams use; adds no row."""

import contextlib
import socket
import time
from collections.abc import Iterator

import redis

from bench import load
from bench.deployment import Deployment, background_body
from bench.footprint import measure_footprint
from bench.load import wire
from bench.run import Run

_MODEL = "1-tokens-at-once-then-hang"
_TEXT = "Say something about the weather in a few words. " * 8
_SLOTS = 10_000_000
_SETTLE_TIME_S = 1.0
_TIMEOUT_S = 60


def measure(run: Run) -> None:
    """Record the bytes per response and per stream as additional figures."""
    deployment = run.deployment
    deployment.stop("worker")
    _measure_waiting(run, deployment)
    _measure_messages(run, deployment)
    deployment.start("worker")
    _measure_running(run, deployment)
    deployment.stop("worker")
    deployment.delete_responses()


def _measure_waiting(run: Run, deployment: Deployment) -> None:
    """Measure responses that wait in Postgres: no worker is running, so none is dispatched."""
    count = run.sizes.submitted
    _delete_all(deployment)
    tables_before, indexes_before, valkey_before = _storage_bytes(deployment)
    _submit(deployment, count)
    tables_after, indexes_after, valkey_after = _storage_bytes(deployment)
    table_bytes, index_bytes = (tables_after - tables_before) / count, (indexes_after - indexes_before) / count
    run.extra_figures["bytes of a waiting response in Postgres"] = (
        f"{table_bytes:,.0f}, of which {index_bytes:,.0f} in indexes"
    )
    run.extra_figures["bytes of a waiting response in Valkey"] = round((valkey_after - valkey_before) / count)


def _measure_messages(run: Run, deployment: Deployment) -> None:
    """Measure a queued Celery message.

    A registration without a worker process provides capacity for all responses, so all of them are dispatched. If the
    submits take long, some are dispatched twice.
    """
    _delete_all(deployment)
    valkey = _storage_bytes(deployment)[2]
    with deployment.core() as core:
        core.workers.register("bench", hostname="bench", pid=0, slots=_SLOTS)
        _submit(deployment, run.sizes.submitted // 2)
        core.workers.unregister("bench")
    messages = deployment.count_pending_messages()
    if not messages:
        raise load.LoadError("No submit was dispatched.")
    run.extra_figures["bytes of a ring in Valkey"] = round((_storage_bytes(deployment)[2] - valkey) / messages)
    _delete_all(deployment)  # a worker that starts later must not receive the messages


def _measure_running(run: Run, deployment: Deployment) -> None:
    """Measure running responses that produce no further output, and then idle streams of some of them."""
    count, streams = run.sizes.running, run.sizes.idle_streams
    _delete_all(deployment)
    run.machine.models.reset()
    (first_id,) = _start_responses(run, deployment, 1)
    with _open_streams(deployment, [first_id]):
        time.sleep(_SETTLE_TIME_S)
    worker, api = (measure_footprint(deployment.pids[name]) for name in ("worker", "api"))
    tables, _, valkey = _storage_bytes(deployment)
    ids = _start_responses(run, deployment, count)
    loaded_worker = measure_footprint(deployment.pids["worker"])
    new_tables, _, new_valkey = _storage_bytes(deployment)
    run.extra_figures[f"bytes of a running response in its worker, of {count:,}"] = (
        f"{(loaded_worker.own_bytes - worker.own_bytes) / count:,.0f} over {worker.own_bytes / 1e6:.0f} MB"
    )
    run.extra_figures["bytes of a running response in Postgres"] = f"{(new_tables - tables) / count:,.0f}"
    run.extra_figures["bytes of a running response in Valkey"] = round((new_valkey - valkey) / count)
    # Measure the API again, because the submits have increased its memory.
    api = measure_footprint(deployment.pids["api"])
    with _open_streams(deployment, ids[:streams]):
        time.sleep(_SETTLE_TIME_S)
        loaded_api = measure_footprint(deployment.pids["api"])
        valkey = _storage_bytes(deployment)[2]
    run.extra_figures[f"bytes of an idle stream in the API, of {streams:,}"] = (
        f"{(loaded_api.own_bytes - api.own_bytes) / streams:,.0f} over {api.own_bytes / 1e6:.0f} MB"
    )
    run.extra_figures["bytes of an idle stream in Valkey"] = round((valkey - new_valkey) / streams)


def _submit(deployment: Deployment, count: int) -> None:
    payload = wire.post_request("/v1/responses", background_body(_MODEL, _TEXT), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=16, count=count, seconds=_TIMEOUT_S))


def _start_responses(run: Run, deployment: Deployment, count: int) -> list[str]:
    """Submit responses that never end, wait until the model server has received them all, and return their IDs."""
    (previous_row,) = deployment.sql("select array_agg(id) from responses")
    _submit(deployment, count)
    previous_ids = previous_row[0] or []
    new_rows = deployment.sql("select id from responses where id <> all (%s)", previous_ids)
    expected_count = len(previous_ids) + count
    deadline = time.monotonic() + _TIMEOUT_S
    while run.machine.models.report()["open"] < expected_count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not all of {expected_count} responses were running within {_TIMEOUT_S} s.")
        time.sleep(0.1)
    time.sleep(_SETTLE_TIME_S)
    return [str(row[0]) for row in new_rows]


@contextlib.contextmanager
def _open_streams(deployment: Deployment, ids: list[str]) -> Iterator[None]:
    """Open streams of running responses inside the block, after each stream has received all existing events."""
    with contextlib.ExitStack() as connections:
        streams = [
            connections.enter_context(socket.create_connection(("127.0.0.1", deployment.port), timeout=30)) for _ in ids
        ]
        for stream, response_id in zip(streams, ids, strict=True):
            stream.sendall(wire.get_request(f"/v1/responses/{response_id}?stream=true", deployment.key).encode())
        for stream in streams:
            response_data = b""
            while b"event: response.output_text.delta" not in response_data:
                data = stream.recv(65_536)
                if not data:
                    raise load.LoadError(f"A stream ended: {response_data[:200]!r}")
                response_data += data
        yield


def _delete_all(deployment: Deployment) -> None:
    """Delete all responses and truncate their tables."""
    deployment.delete_responses()
    deployment.sql("truncate responses cascade")


def _storage_bytes(deployment: Deployment) -> tuple[int, int, int]:
    """Return the bytes of all tables including indexes, of the indexes alone, and of Valkey's data set."""
    ((tables, indexes),) = deployment.sql(
        "select sum(pg_total_relation_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint from pg_class"
        " where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    with redis.Redis.from_url(deployment.redis_url) as client:
        valkey = client.info("memory")["used_memory_dataset"]
    return tables, indexes, int(valkey)

"""Measures the memory and storage that waiting responses, running responses and idle streams use; adds no row."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import redis

from bench import load
from bench.deployment import Deployment, background_body
from bench.footprint import measure_footprint
from bench.load import wire
from bench.run import Run

_MODEL = "1-tokens-at-once-then-hang"
_TEXT = "Say something about the weather in a few words. " * 8
# Slots of the registration without a worker process: more than the number of submits.
_REGISTERED_SLOTS = 10_000_000
_SETTLE_TIME_S = 1.0
_TIMEOUT_S = 60


class _Storage(NamedTuple):
    """Bytes of all tables including their indexes, of the indexes alone, and of the data set of Valkey."""

    tables: int
    indexes: int
    valkey: int


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
    """Measure responses that wait in Postgres: no worker is running, so no response is dispatched."""
    count = run.sizes.memory_waiting_count
    _delete_all(deployment)
    before = _measure_storage(deployment)
    _submit(deployment, count)
    after = _measure_storage(deployment)
    table_bytes, index_bytes = (after.tables - before.tables) / count, (after.indexes - before.indexes) / count
    run.extra_figures["bytes of a waiting response in Postgres"] = (
        f"{table_bytes:,.0f}, of which {index_bytes:,.0f} in indexes"
    )
    run.extra_figures["bytes of a waiting response in Valkey"] = round((after.valkey - before.valkey) / count)


def _measure_messages(run: Run, deployment: Deployment) -> None:
    """Measure a queued Celery message.

    A registration without a worker process provides capacity for all responses, so each response is dispatched. A
    response may have several messages, because a response that no worker claims in time is dispatched again.
    """
    _delete_all(deployment)
    valkey_before = _measure_storage(deployment).valkey
    with deployment.core() as core:
        core.workers.register("bench", hostname="bench", pid=0, slots=_REGISTERED_SLOTS)
        _submit(deployment, run.sizes.memory_waiting_count // 2)
        core.workers.unregister("bench")
    message_count = deployment.count_pending_messages()
    if not message_count:
        raise load.LoadError("No submit was dispatched.")
    valkey_bytes = _measure_storage(deployment).valkey - valkey_before
    run.extra_figures["bytes of a queued Celery message in Valkey"] = round(valkey_bytes / message_count)
    _delete_all(deployment)  # a worker that starts later must not receive the messages


def _measure_running(run: Run, deployment: Deployment) -> None:
    """Measure running responses that produce no further output, and then idle streams of some of these responses."""
    count, stream_count = run.sizes.memory_running_count, run.sizes.memory_stream_count
    _delete_all(deployment)
    run.servers.model_server.reset()
    (first_id,) = _start_responses(run, deployment, 1)
    with _open_streams(deployment, [first_id]):
        time.sleep(_SETTLE_TIME_S)
    idle_worker = measure_footprint(deployment.pids["worker"])
    idle_storage = _measure_storage(deployment)
    ids = _start_responses(run, deployment, count)
    loaded_worker = measure_footprint(deployment.pids["worker"])
    running_storage = _measure_storage(deployment)
    run.extra_figures[f"bytes of a running response in its worker, of {count:,}"] = (
        f"{(loaded_worker.own_bytes - idle_worker.own_bytes) / count:,.0f} over {idle_worker.own_bytes / 1e6:.0f} MB"
    )
    run.extra_figures["bytes of a running response in Postgres"] = (
        f"{(running_storage.tables - idle_storage.tables) / count:,.0f}"
    )
    run.extra_figures["bytes of a running response in Valkey"] = round(
        (running_storage.valkey - idle_storage.valkey) / count
    )
    idle_api = measure_footprint(deployment.pids["api"])  # after the submits, which increase the memory of the API
    with _open_streams(deployment, ids[:stream_count]):
        time.sleep(_SETTLE_TIME_S)
        loaded_api = measure_footprint(deployment.pids["api"])
        stream_storage = _measure_storage(deployment)
    run.extra_figures[f"bytes of an idle stream in the API, of {stream_count:,}"] = (
        f"{(loaded_api.own_bytes - idle_api.own_bytes) / stream_count:,.0f} over {idle_api.own_bytes / 1e6:.0f} MB"
    )
    run.extra_figures["bytes of an idle stream in Valkey"] = round(
        (stream_storage.valkey - running_storage.valkey) / stream_count
    )


def _submit(deployment: Deployment, count: int) -> None:
    payload = wire.post_request("/v1/responses", background_body(_MODEL, _TEXT), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=16, count=count, seconds=_TIMEOUT_S))


def _start_responses(run: Run, deployment: Deployment, count: int) -> list[str]:
    """Submit responses that never end, wait until the model server has received all of them, and return their IDs."""
    previous_ids = [str(row[0]) for row in deployment.sql("select id from responses")]
    _submit(deployment, count)
    new_rows = deployment.sql("select id from responses where id <> all (%s)", previous_ids)
    expected_count = len(previous_ids) + count
    deadline = time.monotonic() + _TIMEOUT_S
    while run.servers.model_server.report()["open"] < expected_count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not all of {expected_count} responses were running within {_TIMEOUT_S} s.")
        time.sleep(0.1)
    time.sleep(_SETTLE_TIME_S)
    return [str(row[0]) for row in new_rows]


@contextlib.contextmanager
def _open_streams(deployment: Deployment, ids: list[str]) -> Iterator[None]:
    """Open streams of running responses, and run the block after each stream has received all existing events."""
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


def _measure_storage(deployment: Deployment) -> _Storage:
    ((tables, indexes),) = deployment.sql(
        "select sum(pg_total_relation_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint from pg_class"
        " where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    with redis.Redis.from_url(deployment.redis_url) as client:
        valkey = client.info("memory")["used_memory_dataset"]
    return _Storage(tables, indexes, int(valkey))

"""Measures the memory and storage of one waiting response, one running response and one idle stream. Adds no row."""

import contextlib
import socket
import time
from collections.abc import Iterator

import redis

from bench import footprint, load
from bench.deployment import Deployment, background
from bench.load import wire
from bench.run import Run

_MODEL = "1-tokens-at-once-then-hang"
_TEXT = "Say something about the weather in a few words. " * 8
_SLOTS = 10_000_000
_SETTLE_S = 1.0
_WITHIN_S = 60


def measure(run: Run) -> None:
    """Record the bytes of each as additional figures."""
    deployment = run.deployment
    deployment.stop("worker")
    _waiting(run, deployment)
    _rung(run, deployment)
    deployment.start("worker")
    _running(run, deployment)
    deployment.stop("worker")
    deployment.forget()


def _waiting(run: Run, deployment: Deployment) -> None:
    """Measure responses that wait in Postgres: no worker is running, so none is dispatched."""
    count = run.sizes.submitted
    _empty(deployment)
    tables, indexes, valkey = _stored(deployment)
    _submit(deployment, count)
    more_tables, more_indexes, more_valkey = _stored(deployment)
    whole, of_indexes = (more_tables - tables) / count, (more_indexes - indexes) / count
    run.beside["bytes of a waiting response in Postgres"] = f"{whole:,.0f}, of which {of_indexes:,.0f} in indexes"
    run.beside["bytes of a waiting response in Valkey"] = round((more_valkey - valkey) / count)


def _rung(run: Run, deployment: Deployment) -> None:
    """Measure a queued Celery message.

    A registration without a worker process provides capacity for all responses, so all are dispatched, and some of
    them twice if this takes long.
    """
    _empty(deployment)
    valkey = _stored(deployment)[2]
    with deployment.core() as core:
        core.workers.stamp("bench", hostname="bench", pid=0, slots=_SLOTS)
        _submit(deployment, run.sizes.submitted // 2)
        core.workers.leave("bench")
    messages = deployment.pending_messages()
    if not messages:
        raise load.Failed("No submit was dispatched.")
    run.beside["bytes of a ring in Valkey"] = round((_stored(deployment)[2] - valkey) / messages)
    _empty(deployment)  # before a worker starts, which would receive all of the messages


def _running(run: Run, deployment: Deployment) -> None:
    """Measure running responses whose model generates no further output, and then idle streams of some of them."""
    count, streams = run.sizes.running, run.sizes.idle_streams
    _empty(deployment)
    run.machine.models.reset()
    (first,) = _run(run, deployment, 1)
    with _followed(deployment, [first]):
        time.sleep(_SETTLE_S)
    worker, api = (footprint.of(deployment.pids[name]) for name in ("worker", "api"))
    tables, _, valkey = _stored(deployment)
    ids = _run(run, deployment, count)
    more = footprint.of(deployment.pids["worker"])
    more_tables, _, more_valkey = _stored(deployment)
    run.beside[f"bytes of a running response in its worker, of {count:,}"] = (
        f"{(more.own_bytes - worker.own_bytes) / count:,.0f} over {worker.own_bytes / 1e6:.0f} MB"
    )
    run.beside["bytes of a running response in Postgres"] = f"{(more_tables - tables) / count:,.0f}"
    run.beside["bytes of a running response in Valkey"] = round((more_valkey - valkey) / count)
    # Measure the API again: its increase caused by the submits does not belong to the streams.
    api = footprint.of(deployment.pids["api"])
    with _followed(deployment, ids[:streams]):
        time.sleep(_SETTLE_S)
        more = footprint.of(deployment.pids["api"])
        valkey = _stored(deployment)[2]
    run.beside[f"bytes of an idle stream in the API, of {streams:,}"] = (
        f"{(more.own_bytes - api.own_bytes) / streams:,.0f} over {api.own_bytes / 1e6:.0f} MB"
    )
    run.beside["bytes of an idle stream in Valkey"] = round((valkey - more_valkey) / streams)


def _submit(deployment: Deployment, count: int) -> None:
    payload = wire.post("/v1/responses", background(_MODEL, _TEXT), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=16, count=count, seconds=_WITHIN_S))


def _run(run: Run, deployment: Deployment, count: int) -> list[str]:
    """Submit responses that never end, wait until the model server has received all requests, and return the IDs."""
    (before,) = deployment.sql("select array_agg(id) from responses")
    _submit(deployment, count)
    ids = [str(found[0]) for found in deployment.sql("select id from responses where id <> all (%s)", before[0] or [])]
    whole = len(before[0] or []) + count
    until = time.monotonic() + _WITHIN_S
    while run.machine.models.report()["open"] < whole:
        if time.monotonic() > until:
            raise TimeoutError(f"Not all of {whole} responses were running within {_WITHIN_S} s.")
        time.sleep(0.1)
    time.sleep(_SETTLE_S)
    return ids


@contextlib.contextmanager
def _followed(deployment: Deployment, ids: list[str]) -> Iterator[None]:
    """Open streams of running responses inside the block; each has received all existing events."""
    with contextlib.ExitStack() as opened:
        streams = [
            opened.enter_context(socket.create_connection(("127.0.0.1", deployment.port), timeout=30)) for _ in ids
        ]
        for stream, response_id in zip(streams, ids, strict=True):
            stream.sendall(wire.get(f"/v1/responses/{response_id}?stream=true", deployment.key).encode())
        for stream in streams:
            received = b""
            while b"event: response.output_text.delta" not in received:
                some = stream.recv(65_536)
                if not some:
                    raise load.Failed(f"A stream ended: {received[:200]!r}")
                received += some
        yield


def _empty(deployment: Deployment) -> None:
    """Delete all responses and truncate their tables."""
    deployment.forget()
    deployment.sql("truncate responses cascade")


def _stored(deployment: Deployment) -> tuple[int, int, int]:
    """Bytes of all tables including indexes, of the indexes alone, and of the data set of Valkey."""
    ((tables, indexes),) = deployment.sql(
        "select sum(pg_total_relation_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint from pg_class"
        " where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    with redis.Redis.from_url(deployment.redis_url) as client:
        kept = client.info("memory")["used_memory_dataset"]
    return tables, indexes, int(kept)

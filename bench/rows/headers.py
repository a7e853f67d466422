"""Compares polls and submits that carry optional headers with those that do not."""

import http.client
from contextlib import closing
from functools import partial

from bench.deployment import background
from bench.load import wire
from bench.rows.poll import polls
from bench.rows.submit import submits
from bench.run import Run, Slice
from bench.targets import ratios

POLL_CONNECTIONS = 16
SUBMIT_CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_PROMPT = "Say something about the weather in a few words. " * 8
_POLL_HEADERS = {
    "poll with Prefer": {"Prefer": "wait=0"},
    "poll with Origin": {"Origin": "https://dashboard.example"},
    "poll with proxy": {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Request-ID": "dashboard-7"},
}


def measure(run: Run) -> None:
    """Add the rows `poll with ...` and `submit with Idempotency-Key`."""
    _measure_polls(run)
    _measure_submits(run)


def _measure_polls(run: Run) -> None:
    key, port = run.deployment.key, run.deployment.port
    plain = polls(run.deployment, 100)
    paths = [payload.split(" ", 2)[1] for payload in plain]
    payloads = {name: [wire.get(path, key, headers) for path in paths] for name, headers in _POLL_HEADERS.items()}
    payloads["poll with If-None-Match"] = [
        wire.get(path, key, {"If-None-Match": _etag(port, path, key)}) for path in paths
    ]

    def poll(requests: list[str]) -> Slice:
        return run.requests(port, requests, POLL_CONNECTIONS, run.deployment.pids, seconds=run.sizes.slice_s / 2)

    polling = {name: partial(poll, requests) for name, requests in {"plain": plain, **payloads}.items()}
    slices = run.interleave(times=None, **polling)
    rates = {name: [figures.per_s for figures, _ in each] for name, each in slices.items()}
    for name in payloads:
        run.add(ratios(name, rates[name], rates["plain"]))


def _etag(port: int, path: str, key: str) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        return str(connection.getresponse().headers["ETag"])


def _measure_submits(run: Run) -> None:
    deployment = run.deployment
    body = background(_MODEL, _PROMPT)
    plain = [wire.post("/v1/responses", body, deployment.key)]
    keyed = [wire.post("/v1/responses", body, deployment.key, {"Idempotency-Key": "{unique}"})]

    def submit(requests: list[str]) -> Slice:
        return submits(run, deployment, requests, SUBMIT_CONNECTIONS, seconds=run.sizes.slice_s)

    slices = run.interleave(plain=lambda: submit(plain), keyed=lambda: submit(keyed))
    plain_rates, keyed_rates = ([figures.per_s for figures, _ in slices[name]] for name in ("plain", "keyed"))
    run.add(ratios("submit with Idempotency-Key", keyed_rates, plain_rates))
    run.note_cpu("submit with Idempotency-Key", [each for _, each in slices["keyed"]])

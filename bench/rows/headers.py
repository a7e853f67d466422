"""Compares the rates of polls and submits that send optional headers with the rates without these headers."""

import http.client
from contextlib import closing
from functools import partial

from bench.deployment import background_body
from bench.load import wire
from bench.rows.poll import prepare_poll_requests
from bench.rows.submit import run_submits
from bench.run import Run, Slice
from bench.targets import build_ratio_row

POLL_CONNECTIONS = 16
SUBMIT_CONNECTIONS = 64
_POLLED_RESPONSES = 100
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
    plain_payloads = prepare_poll_requests(run.deployment, _POLLED_RESPONSES)
    paths = [payload.split(" ", 2)[1] for payload in plain_payloads]
    header_payloads = {
        name: [wire.get_request(path, key, headers) for path in paths] for name, headers in _POLL_HEADERS.items()
    }
    header_payloads["poll with If-None-Match"] = [
        wire.get_request(path, key, {"If-None-Match": _request_etag(port, path, key)}) for path in paths
    ]

    def run_polls(payloads: list[str]) -> Slice:
        return run.measure_requests(
            port, payloads, POLL_CONNECTIONS, run.deployment.pids, seconds=run.sizes.slice_s / 2
        )

    all_payloads = {"plain": plain_payloads, **header_payloads}
    poll_functions = {name: partial(run_polls, payloads) for name, payloads in all_payloads.items()}
    slices_by_name = run.interleave(times=None, **poll_functions)
    rates = {name: [figures.per_s for figures, _ in slices] for name, slices in slices_by_name.items()}
    for name in header_payloads:
        run.add(build_ratio_row(name, rates[name], rates["plain"]))


def _request_etag(port: int, path: str, key: str) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        return str(connection.getresponse().headers["ETag"])


def _measure_submits(run: Run) -> None:
    deployment = run.deployment
    body = background_body(_MODEL, _PROMPT)
    plain_payloads = [wire.post_request("/v1/responses", body, deployment.key)]
    keyed_payloads = [wire.post_request("/v1/responses", body, deployment.key, {"Idempotency-Key": "{unique}"})]

    def submit(payloads: list[str]) -> Slice:
        return run_submits(run, deployment, payloads, SUBMIT_CONNECTIONS, seconds=run.sizes.slice_s)

    slices = run.interleave(plain=lambda: submit(plain_payloads), keyed=lambda: submit(keyed_payloads))
    plain_rates, keyed_rates = ([figures.per_s for figures, _ in slices[name]] for name in ("plain", "keyed"))
    run.add(build_ratio_row("submit with Idempotency-Key", keyed_rates, plain_rates))
    run.record_cpu_time("submit with Idempotency-Key", [costs_us for _, costs_us in slices["keyed"]])

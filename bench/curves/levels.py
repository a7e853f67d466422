"""Latency against load: floors, polls and submits with increasing numbers of connections. Adds a plot but no row."""

from bench.deployment import background_body
from bench.load import wire
from bench.rows.poll import completed_poll_requests
from bench.rows.submit import run_submits
from bench.run import Run

_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the curve `latency`: each point has connections, requests per second, p50 and p99 in ms."""
    deployment = run.deployment
    body = background_body(_MODEL)
    poll_payloads, submit_payloads = (
        completed_poll_requests(deployment, 50),
        [wire.post_request("/v1/responses", body, deployment.key)],
    )
    seconds = run.sizes.slice_s / 3
    curve: dict[str, list[tuple[float, ...]]] = {"bare GET": [], "poll": [], "bare POST": [], "submit": []}
    for connections in run.sizes.levels:
        slices = {
            "bare GET": run.requests(run.web_port, [wire.get_request("/")], connections, {}, seconds=seconds),
            "poll": run.requests(deployment.port, poll_payloads, connections, {}, seconds=seconds),
            "bare POST": run.requests(run.web_port, [wire.post_request("/", body)], connections, {}, seconds=seconds),
            "submit": run_submits(run, deployment, submit_payloads, connections, seconds=seconds),
        }
        for name, (figures, _) in slices.items():
            curve[name].append((connections, figures.per_s, figures.p50_ms, figures.p99_ms))
    run.curves["latency"] = curve

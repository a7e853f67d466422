"""Measures the latency of floors, polls and submits with increasing numbers of connections; adds a curve but no row."""

from bench.deployment import background_body
from bench.load import wire
from bench.rows.poll import prepare_poll_requests
from bench.rows.submit import run_submits
from bench.run import Run

_MODEL = "20-tokens-at-once"
_POLLED_RESPONSES = 50


def measure(run: Run) -> None:
    """Add the curve `latency`: each point has connections, requests per second, p50 and p99 in ms."""
    deployment = run.deployment
    body = background_body(_MODEL)
    poll_payloads = prepare_poll_requests(deployment, _POLLED_RESPONSES)
    submit_payloads = [wire.post_request("/v1/responses", body, deployment.key)]
    seconds = run.sizes.slice_s / 3
    curve: dict[str, list[tuple[float, ...]]] = {"bare GET": [], "poll": [], "bare POST": [], "submit": []}
    for connections in run.sizes.connection_counts:
        slices = {
            "bare GET": run.measure_requests(
                run.floor_web_port, [wire.get_request("/")], connections, {}, seconds=seconds
            ),
            "poll": run.measure_requests(deployment.port, poll_payloads, connections, {}, seconds=seconds),
            "bare POST": run.measure_requests(
                run.floor_web_port, [wire.post_request("/", body)], connections, {}, seconds=seconds
            ),
            "submit": run_submits(run, deployment, submit_payloads, connections, seconds=seconds),
        }
        for name, (figures, _) in slices.items():
            curve[name].append((connections, figures.per_s, figures.p50_ms, figures.p99_ms))
    run.curves["latency"] = curve

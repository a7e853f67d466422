"""Latency against load: floors, polls and submits with more and more connections. Adds a plot but no benchmark row."""

from bench.deployment import background
from bench.load import wire
from bench.rows.poll import polls
from bench.rows.submit import submits
from bench.run import Run

_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the curve `latency`: for each series, connections, requests per second, p50 and p99 in ms."""
    deployment = run.deployment
    body = background(_MODEL)
    poll_payloads, submit_payloads = polls(deployment, 50), [wire.post("/v1/responses", body, deployment.key)]
    seconds = run.sizes.slice_s / 3
    curve: dict[str, list[tuple[float, ...]]] = {"bare GET": [], "poll": [], "bare POST": [], "submit": []}
    for level in run.sizes.levels:
        slices = {
            "bare GET": run.requests(run.web_port, [wire.get("/")], level, {}, seconds=seconds),
            "poll": run.requests(deployment.port, poll_payloads, level, {}, seconds=seconds),
            "bare POST": run.requests(run.web_port, [wire.post("/", body)], level, {}, seconds=seconds),
            "submit": submits(run, deployment, submit_payloads, level, seconds=seconds),
        }
        for name, (figures, _) in slices.items():
            curve[name].append((level, figures.per_s, figures.p50_ms, figures.p99_ms))
    run.curves["latency"] = curve

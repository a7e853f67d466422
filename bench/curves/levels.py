"""Latency against load: floors, polls and submits with an increasing number of connections. Adds a plot, no row."""

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
    gets, posts = polls(deployment, 50), [wire.post("/v1/responses", body, deployment.key)]
    seconds = run.sizes.slice_s / 3
    curve: dict[str, list[tuple[float, ...]]] = {"bare GET": [], "poll": [], "bare POST": [], "submit": []}
    for level in run.sizes.levels:
        found = {
            "bare GET": run.requests(run.web_port, [wire.get("/")], level, {}, seconds=seconds),
            "poll": run.requests(deployment.port, gets, level, {}, seconds=seconds),
            "bare POST": run.requests(run.web_port, [wire.post("/", body)], level, {}, seconds=seconds),
            "submit": submits(run, deployment, posts, level, seconds=seconds),
        }
        for name, (figures, _) in found.items():
            curve[name].append((level, figures.per_s, figures.p50_ms, figures.p99_ms))
    run.curves["latency"] = curve

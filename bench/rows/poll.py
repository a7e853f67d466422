"""Compares authenticated polls of ended responses with a bare Flask GET."""

from bench import load
from bench.deployment import Deployment, background_body
from bench.load import wire
from bench.run import Run, Slice
from bench.targets import build_ratio_row

CONNECTIONS = 16
_POLLED_RESPONSES = 100
_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the rows `poll` and `poll p50, 1 client`."""
    payloads = prepare_poll_requests(run.deployment, _POLLED_RESPONSES)
    slices = _measure_with_floor(run, payloads, CONNECTIONS, run.sizes.slice_s)
    product, floor = ([figures.per_s for figures, _ in slices[name]] for name in ("product", "floor"))
    run.add(build_ratio_row("poll", product, floor))
    run.record_cpu_time("bare GET", [costs_us for _, costs_us in slices["floor"]])
    run.record_cpu_time("poll", [costs_us for _, costs_us in slices["product"]])
    slices = _measure_with_floor(run, payloads, 1, run.sizes.slice_s / 2)
    product, floor = ([figures.p50_ms for figures, _ in slices[name]] for name in ("product", "floor"))
    run.add(build_ratio_row("poll p50, 1 client", product, floor))


def _measure_with_floor(run: Run, payloads: list[str], connections: int, seconds: float) -> dict[str, list[Slice]]:
    """Measure slices of polls alternately with slices of the bare GET, with the same number of connections."""
    web_pids = {"api": run.servers.pids["floor-web"]}
    get_payloads = [wire.get_request("/")]
    return run.interleave(
        floor=run.cache_floor(
            f"bare GET, {connections}",
            lambda: run.measure_requests(run.floor_web_port, get_payloads, connections, web_pids, seconds=seconds),
        ),
        product=lambda: run.measure_requests(
            run.deployment.port, payloads, connections, run.deployment.pids, seconds=seconds
        ),
    )


def prepare_poll_requests(deployment: Deployment, count: int) -> list[str]:
    """Delete all responses, complete `count` new ones, stop the worker, and return a poll request for each response."""
    deployment.delete_responses()
    deployment.start("worker")
    payload = wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=4, count=count))
    deployment.wait_until_ended(count)
    deployment.stop("worker")
    rows = deployment.sql("select id from responses where status = 'completed'")
    return [wire.get_request(f"/v1/responses/{row[0]}", deployment.key) for row in rows]

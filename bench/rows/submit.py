"""Compares background submits, which are committed and dispatched, with a bare Flask POST that parses the same body.

No worker is running. A registration without a worker process provides capacity for all responses, so that each submit
is dispatched immediately.
"""

from bench import load
from bench.deployment import Deployment, background_body
from bench.load import wire
from bench.run import Run, Slice
from bench.targets import Row, build_ratio_row

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
# Slots of the registration without a worker process: more than the number of submits.
_REGISTERED_SLOTS = 10_000_000


def measure(run: Run) -> None:
    """Add the rows `submit`, `submit p99` and `submit p50, 1 client`."""
    run.deployment.stop("worker")
    slices = _measure_with_floor(run, CONNECTIONS, run.sizes.slice_s)
    product, floor = ([figures for figures, _ in slices[name]] for name in ("product", "floor"))
    run.add(build_ratio_row("submit", [figures.per_s for figures in product], [figures.per_s for figures in floor]))
    p50s, p99s = [figures.p50_ms for figures in product], [figures.p99_ms for figures in product]
    run.add(Row("submit p99", [p99 / p50 for p99, p50 in zip(p99s, p50s, strict=True)], p50s, raw=p99s, raw_unit="ms"))
    run.record_cpu_time("bare POST", [costs_us for _, costs_us in slices["floor"]])
    run.record_cpu_time("submit", [costs_us for _, costs_us in slices["product"]])
    slices = _measure_with_floor(run, 1, run.sizes.slice_s / 2)
    product, floor = ([figures for figures, _ in slices[name]] for name in ("product", "floor"))
    run.add(
        build_ratio_row(
            "submit p50, 1 client", [figures.p50_ms for figures in product], [figures.p50_ms for figures in floor]
        )
    )


def _measure_with_floor(run: Run, connections: int, seconds: float) -> dict[str, list[Slice]]:
    """Measure slices of submits alternately with slices of the bare POST, with the same number of connections."""
    body = background_body(_MODEL, "Say something about the weather in a few words. " * 8)
    web_pids = {"api": run.servers.pids["floor-web"]}
    bare_payloads = [wire.post_request("/", body)]
    submit_payloads = [wire.post_request("/v1/responses", body, run.deployment.key)]
    return run.interleave(
        floor=run.cache_floor(
            f"bare POST, {connections}",
            lambda: run.measure_requests(run.floor_web_port, bare_payloads, connections, web_pids, seconds=seconds),
        ),
        product=lambda: run_submits(run, run.deployment, submit_payloads, connections, seconds=seconds),
    )


def run_submits(
    run: Run, deployment: Deployment, payloads: list[str], connections: int, *, seconds: float | None = None
) -> Slice:
    """Run a slice of submits, check that all were dispatched, and delete all queued responses.

    Raises:
        load.LoadError: a submit failed or was not dispatched.
    """
    with deployment.core() as core:
        core.workers.register("bench", hostname="bench", pid=0, slots=_REGISTERED_SLOTS)
        submit_slice = run.measure_requests(deployment.port, payloads, connections, deployment.pids, seconds=seconds)
        core.workers.unregister("bench")
    ((accepted_count, dispatched_count),) = deployment.sql(
        "select count(*), count(dispatched_at) from responses where status = 'queued'"
    )
    if dispatched_count < accepted_count:
        raise load.LoadError(f"Only {dispatched_count} of {accepted_count} submits were dispatched.")
    deployment.delete_responses("status = 'queued'")
    return submit_slice

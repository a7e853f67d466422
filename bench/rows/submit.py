"""Compares background submits, committed and dispatched, with a bare Flask POST that parses the same body.

No worker is running. A registration without a worker process provides capacity for all responses, so that each submit
is dispatched at once.
"""

from bench import load
from bench.deployment import Deployment, background
from bench.load import wire
from bench.run import Run, Slice
from bench.targets import Row, ratios

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_SLOTS = 10_000_000


def measure(run: Run) -> None:
    """Add the rows `submit`, `submit p99` and `submit p50, 1 client`."""
    run.deployment.stop("worker")
    found = _beside(run, CONNECTIONS, run.sizes.slice_s)
    path, floor = ([figures for figures, _ in found[name]] for name in ("path", "floor"))
    run.add(ratios("submit", [one.per_s for one in path], [one.per_s for one in floor]))
    p50s, p99s = [one.p50_ms for one in path], [one.p99_ms for one in path]
    run.add(Row("submit p99", [p99 / p50 for p99, p50 in zip(p99s, p50s, strict=True)], p50s, raw=p99s, raw_unit="ms"))
    run.note_cpu("bare POST", [each for _, each in found["floor"]])
    run.note_cpu("submit", [each for _, each in found["path"]])
    found = _beside(run, 1, run.sizes.slice_s / 2)
    path, floor = ([figures for figures, _ in found[name]] for name in ("path", "floor"))
    run.add(ratios("submit p50, 1 client", [one.p50_ms for one in path], [one.p50_ms for one in floor]))


def _beside(run: Run, connections: int, seconds: float) -> dict[str, list[Slice]]:
    """Measure slices of submits alternately with slices of the bare POST."""
    body = background(_MODEL, "Say something about the weather in a few words. " * 8)
    web = {"api": run.machine.pids["floor-web"]}
    bare, posts = [wire.post("/", body)], [wire.post("/v1/responses", body, run.deployment.key)]
    return run.interleave(
        floor=run.floor(
            f"bare POST, {connections}", lambda: run.requests(run.web_port, bare, connections, web, seconds=seconds)
        ),
        path=lambda: submits(run, run.deployment, posts, connections, seconds=seconds),
    )


def submits(
    run: Run, deployment: Deployment, payloads: list[str], connections: int, *, seconds: float | None = None
) -> Slice:
    """Run one slice of submits, check that all were dispatched, and delete them.

    Raises:
        load.Failed: some were not dispatched.
    """
    with deployment.core() as core:
        core.workers.stamp("bench", hostname="bench", pid=0, slots=_SLOTS)
        found = run.requests(deployment.port, payloads, connections, deployment.pids, seconds=seconds)
        core.workers.leave("bench")
    ((accepted, dispatched),) = deployment.sql(
        "select count(*), count(dispatched_at) from responses where status = 'queued'"
    )
    if dispatched < accepted:
        raise load.LoadError(f"Only {dispatched} of {accepted} submits were dispatched.")
    deployment.delete_responses("status = 'queued'")
    return found

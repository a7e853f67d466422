"""Submits in the background, committed and rung, beside a bare Flask POST that parses the same body.

No worker runs: one that is said to be there has room for all, so that each submit takes the way on which it is rung.
"""

from bench import load
from bench.deployment import Deployment, background
from bench.load import wire
from bench.run import Run
from bench.targets import Row, ratios

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_SLOTS = 10_000_000


def measure(run: Run) -> None:
    """Add the rows `submit` and `submit p99`."""
    body = background(_MODEL, "Say something about the weather in a few words. " * 8)
    deployment = run.deployment
    payloads = [wire.post("/v1/responses", body, deployment.key)]
    floor = {"api": run.machine.pids["floor-web"]}
    found = run.interleaved(
        floor=lambda: run.requests(run.web_port, [wire.post("/", body)], CONNECTIONS, floor),
        path=lambda: submits(run, deployment, payloads, CONNECTIONS),
    )
    path = [figures for figures, _ in found["path"]]
    run.add(ratios("submit", [one.per_s for one in path], [figures.per_s for figures, _ in found["floor"]]))
    run.add(Row("submit p99", [one.p99_ms / one.p50_ms for one in path], [one.p50_ms for one in path]))
    run.note_cpu("bare POST", [each for _, each in found["floor"]])
    run.note_cpu("submit", [each for _, each in found["path"]])


def submits(
    run: Run, deployment: Deployment, payloads: list[str], connections: int, *, seconds: float | None = None
) -> tuple[load.Figures, dict[str, float]]:
    """One slice of submits, each of which was rung; afterwards they are gone.

    Raises:
        load.Failed: some were not rung.
    """
    with deployment.core() as core:
        core.workers.stamp("bench", hostname="bench", pid=0, slots=_SLOTS)
        found = run.requests(deployment.port, payloads, connections, deployment.pids, seconds=seconds)
        core.workers.leave("bench")
    ((accepted, rung),) = deployment.sql("select count(*), count(rung_at) from responses where status = 'queued'")
    if rung < accepted:
        raise load.Failed(f"Only {rung} of {accepted} submits were rung.")
    deployment.forget("status = 'queued'")
    return found

"""Compares authenticated polls of ended responses with a bare Flask GET."""

from bench import load
from bench.deployment import Deployment, background
from bench.load import wire
from bench.run import Run, Slice
from bench.targets import ratios

CONNECTIONS = 16
_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the rows `poll` and `poll p50, 1 client`."""
    payloads = polls(run.deployment, 100)
    found = _beside(run, payloads, CONNECTIONS, run.sizes.slice_s)
    path, floor = ([figures.per_s for figures, _ in found[name]] for name in ("path", "floor"))
    run.add(ratios("poll", path, floor))
    run.note_cpu("bare GET", [each for _, each in found["floor"]])
    run.note_cpu("poll", [each for _, each in found["path"]])
    found = _beside(run, payloads, 1, run.sizes.slice_s / 2)
    path, floor = ([figures.p50_ms for figures, _ in found[name]] for name in ("path", "floor"))
    run.add(ratios("poll p50, 1 client", path, floor))


def _beside(run: Run, payloads: list[str], connections: int, seconds: float) -> dict[str, list[Slice]]:
    """Measure slices of polls alternately with slices of the bare GET."""
    web = {"api": run.machine.pids["floor-web"]}
    gets = [wire.get("/")]
    return run.interleave(
        floor=run.floor(
            f"bare GET, {connections}", lambda: run.requests(run.web_port, gets, connections, web, seconds=seconds)
        ),
        path=lambda: run.requests(run.deployment.port, payloads, connections, run.deployment.pids, seconds=seconds),
    )


def polls(deployment: Deployment, count: int) -> list[str]:
    """Poll requests for `count` newly completed responses; deletes all other responses and stops the worker."""
    deployment.delete_responses()
    deployment.start("worker")
    payload = wire.post("/v1/responses", background(_MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=4, count=count))
    deployment.wait_until_ended(count)
    deployment.stop("worker")
    ids = deployment.sql("select id from responses where status = 'completed'")
    return [wire.get(f"/v1/responses/{found[0]}", deployment.key) for found in ids]

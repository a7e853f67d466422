"""Polls of finished responses, with a key, beside a bare Flask GET."""

from bench.deployment import Deployment, background
from bench.load import wire
from bench.run import Run
from bench.targets import ratios

CONNECTIONS = 16
_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the row `poll`."""
    payloads = polls(run.deployment, 100)
    floor = {"api": run.machine.pids["floor-web"]}
    found = run.interleaved(
        floor=lambda: run.requests(run.web_port, [wire.get("/")], CONNECTIONS, floor),
        path=lambda: run.requests(run.deployment.port, payloads, CONNECTIONS, run.deployment.pids),
    )
    run.add(
        ratios(
            "poll", [figures.per_s for figures, _ in found["path"]], [figures.per_s for figures, _ in found["floor"]]
        )
    )
    run.note_cpu("bare GET", [each for _, each in found["floor"]])
    run.note_cpu("poll", [each for _, each in found["path"]])


def polls(deployment: Deployment, count: int) -> list[str]:
    """Requests for so many responses that were run to their end; afterwards no worker runs."""
    deployment.start("worker")
    for _ in range(count):
        deployment.call("POST", "/responses", background(_MODEL))
    deployment.wait_until_ended(count)
    deployment.stop("worker")
    ids = deployment.sql("select id from responses where status = 'completed'")
    return [wire.get(f"/v1/responses/{found[0]}", deployment.key) for found in ids]

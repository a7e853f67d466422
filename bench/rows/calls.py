"""Measures the latency of single calls of clients, dispatch and workers on a deployment with existing responses."""

import time
from collections.abc import Callable

from bench.deployment import Deployment, background
from bench.fill import some_ids
from bench.load import percentile, wire
from bench.run import Run

MODEL = "20-tokens-at-once"
CALLS = ("submit", "poll", "claim", "dispatch", "list")
_POLLED = 500
_DISPATCHED = 20

# Submits the given requests for the given number of seconds and returns the p50 in ms.
Submit = Callable[[list[str], float], float]


def p50s(run: Run, deployment: Deployment, submit: Submit) -> dict[str, float]:
    """The p50 of each call in milliseconds. The caller must delete the created responses."""
    polls = [wire.get(f"/v1/responses/{found}", deployment.key) for found in some_ids(deployment, _POLLED)]
    lists = [wire.get("/v1/responses?limit=20", deployment.key)]
    posts = [wire.post("/v1/responses", background(MODEL), deployment.key)]
    seconds = run.sizes.slice_s / 2
    return {
        "poll": run.requests(deployment.port, polls, 1, {}, seconds=seconds)[0].p50_ms,
        "list": run.requests(deployment.port, lists, 1, {}, seconds=seconds)[0].p50_ms,
        "submit": submit(posts, seconds),
        **_dispatch_and_claim(run, deployment),
    }


def _dispatch_and_claim(run: Run, deployment: Deployment) -> dict[str, float]:
    """Measure dispatches with free capacity, and claims of the dispatched responses, both called in this process."""
    dispatches: list[float] = []
    claims: list[float] = []
    with deployment.core() as core:
        for _ in range(max(5, run.sizes.trips // 5)):
            for _ in range(_DISPATCHED):
                deployment.call("POST", "/responses", background(MODEL))
            ((dispatched,),) = deployment.sql(
                "select count(*) from responses where status = 'queued' and dispatched_at is not null"
            )
            # Responses that are already dispatched also occupy slots.
            core.workers.stamp("bench", hostname="bench", pid=0, slots=dispatched + _DISPATCHED)
            dispatches.append(_ms(core.dispatch.dispatch))
            core.workers.leave("bench")
        rung_ids = deployment.sql("select id from responses where status = 'queued' and dispatched_at is not null")
        for (response_id,) in rung_ids[: 2 * run.sizes.trips]:
            claims.append(_ms(lambda response_id=response_id: core.attempts.claim(response_id, "bench")))  # type: ignore[misc]
    return {"dispatch": percentile(sorted(dispatches), 0.5), "claim": percentile(sorted(claims), 0.5)}


def _ms(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    result = call()
    took = 1000 * (time.perf_counter() - began_at)
    if not result:
        raise RuntimeError("There was nothing to dispatch or claim.")
    return took

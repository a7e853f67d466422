"""What many stored responses cost: the same calls on two deployments, one with few and one with many."""

import time
from collections.abc import Callable

from bench.deployment import Deployment, background
from bench.fill import TEMPLATES, fill, some_ids, templates
from bench.load import percentile, wire
from bench.rows.submit import submits
from bench.run import Run
from bench.targets import ratios

_MODEL = "20-tokens-at-once"
_DISPATCHED = 20
_SLOTS = 1_000_000
CALLS = ("submit", "poll", "claim", "dispatch", "list")


def measure(run: Run) -> None:
    """Add the rows `growth`, and the curve of their cost."""
    few_stored, *steps = run.sizes.stored
    models = sorted({*TEMPLATES})
    with Deployment(run.machine, "few", 2, models) as few, Deployment(run.machine, "many", 3, models) as many:
        for deployment in (few, many):
            deployment.start("api")
            templates(deployment)
            fill(deployment, few_stored)
        curve: dict[str, list[tuple[float, ...]]] = {name: [] for name in CALLS}
        _note(curve, few_stored, _p50s(run, few))
        for stored in steps:
            began_at = time.monotonic()
            fill(many, stored)
            run.say(f"  {stored:,} responses stored ({time.monotonic() - began_at:.0f} s)")
            if stored != steps[-1]:
                _note(curve, stored, _p50s(run, many))
        found = run.interleaved(few=lambda: _p50s(run, few), many=lambda: _p50s(run, many))
        _note(curve, steps[-1], found["many"][-1])
        run.curves["growth"] = curve
        for name in CALLS:
            run.add(
                ratios(f"growth: {name}", [one[name] for one in found["many"]], [one[name] for one in found["few"]])
            )
        ((size,),) = many.sql("select pg_size_pretty(pg_database_size(current_database()))")
        run.beside[f"size of the database with {steps[-1]:,} responses"] = size


def _note(curve: dict[str, list[tuple[float, ...]]], stored: int, p50s: dict[str, float]) -> None:
    for name, value in p50s.items():
        curve[name].append((stored, value))


def _p50s(run: Run, deployment: Deployment) -> dict[str, float]:
    """Milliseconds of each call, one at a time."""
    polls = [wire.get(f"/v1/responses/{found}", deployment.key) for found in some_ids(deployment, 500)]
    lists = [wire.get("/v1/responses?limit=20", deployment.key)]
    posts = [wire.post("/v1/responses", background(_MODEL), deployment.key)]
    seconds = run.sizes.slice_s / 2
    found = {
        "poll": run.requests(deployment.port, polls, 1, {}, seconds=seconds)[0].p50_ms,
        "list": run.requests(deployment.port, lists, 1, {}, seconds=seconds)[0].p50_ms,
        "submit": submits(run, deployment, posts, 1, seconds=seconds)[0].p50_ms,
        **_dispatch_and_claim(run, deployment),
    }
    deployment.forget("status in ('queued', 'in_progress')")
    return found


def _dispatch_and_claim(run: Run, deployment: Deployment) -> dict[str, float]:
    """Dispatches of some responses that wait, and claims of what was rung, called in this process."""
    dispatches: list[float] = []
    claims: list[float] = []
    with deployment.core() as core:
        for _ in range(max(5, run.sizes.trips // 5)):
            for _ in range(_DISPATCHED):
                deployment.call("POST", "/responses", background(_MODEL))
            core.workers.stamp("bench", hostname="bench", pid=0, slots=_SLOTS)
            dispatches.append(_ms(core.dispatch.dispatch))
            core.workers.leave("bench")
        rung = deployment.sql("select id from responses where status = 'queued' and rung_at is not null")
        for (response_id,) in rung[: 2 * run.sizes.trips]:
            claims.append(_ms(lambda response_id=response_id: core.attempts.claim(response_id, "bench")))  # type: ignore[misc]
    return {"dispatch": percentile(sorted(dispatches), 0.5), "claim": percentile(sorted(claims), 0.5)}


def _ms(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    result = call()
    took = 1000 * (time.perf_counter() - began_at)
    if not result:
        raise RuntimeError("There was nothing to dispatch, or to claim.")
    return took

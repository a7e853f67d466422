"""Measures the latency of single calls (submit, poll, list, dispatch, claim) on a deployment with stored responses."""

import functools
import time
from collections.abc import Callable

from bench.deployment import Deployment, background_body
from bench.fill import choose_random_ids
from bench.load import percentile, wire
from bench.run import Run

MODEL = "20-tokens-at-once"
CALLS = ("submit", "poll", "claim", "dispatch", "list")
_POLLED_RESPONSES = 500
_DISPATCHED_RESPONSES = 20

# A function `(payloads, seconds)` that sends create requests for a duration and returns the p50 in milliseconds.
MeasureSubmits = Callable[[list[str], float], float]


def measure_p50s(run: Run, deployment: Deployment, measure_submits: MeasureSubmits) -> dict[str, float]:
    """Measure the p50 of each call in milliseconds. The caller must delete the responses that this function creates."""
    poll_payloads = [
        wire.get_request(f"/v1/responses/{response_id}", deployment.key)
        for response_id in choose_random_ids(deployment, _POLLED_RESPONSES)
    ]
    list_payloads = [wire.get_request("/v1/responses?limit=20", deployment.key)]
    submit_payloads = [wire.post_request("/v1/responses", background_body(MODEL), deployment.key)]
    seconds = run.sizes.slice_s / 2
    return {
        "poll": run.measure_requests(deployment.port, poll_payloads, 1, {}, seconds=seconds).figures.p50_ms,
        "list": run.measure_requests(deployment.port, list_payloads, 1, {}, seconds=seconds).figures.p50_ms,
        "submit": measure_submits(submit_payloads, seconds),
        **_measure_dispatch_and_claim(run, deployment),
    }


def _measure_dispatch_and_claim(run: Run, deployment: Deployment) -> dict[str, float]:
    """Measure dispatches with free capacity, and claims of the dispatched responses, both called in this process."""
    dispatch_ms: list[float] = []
    claim_ms: list[float] = []
    with deployment.core() as core:
        for _ in range(max(5, run.sizes.round_trip_count // 5)):
            for _ in range(_DISPATCHED_RESPONSES):
                deployment.call("POST", "/responses", background_body(MODEL))
            ((dispatched_count,),) = deployment.sql(
                "select count(*) from responses where status = 'queued' and dispatched_at is not null"
            )
            # Responses from earlier rounds are still dispatched and occupy slots.
            core.workers.register("bench", hostname="bench", pid=0, slots=dispatched_count + _DISPATCHED_RESPONSES)
            dispatch_ms.append(_measure_ms(core.dispatch.dispatch))
            core.workers.unregister("bench")
        dispatched_ids = deployment.sql(
            "select id from responses where status = 'queued' and dispatched_at is not null"
        )
        for (response_id,) in dispatched_ids[: 2 * run.sizes.round_trip_count]:
            claim_ms.append(_measure_ms(functools.partial(core.attempts.claim, response_id, "bench")))
    return {"dispatch": percentile(sorted(dispatch_ms), 0.5), "claim": percentile(sorted(claim_ms), 0.5)}


def _measure_ms(call: Callable[[], object]) -> float:
    """Return the duration of a call, whose result must be true, in milliseconds."""
    began_at = time.perf_counter()
    result = call()
    duration_ms = 1000 * (time.perf_counter() - began_at)
    if not result:
        raise RuntimeError("The call dispatched or claimed nothing.")
    return duration_ms

"""Measures the same calls on two deployments, one with few stored responses and one with many, and compares them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.deployment import Deployment
from bench.fill import TEMPLATE_MODELS, add_waiting, create_templates, fill
from bench.rows.calls import CALLS, measure_p50s
from bench.rows.submit import run_submits
from bench.run import Run
from bench.targets import ratios

_UNFINISHED_CONDITION = "status in ('queued', 'in_progress')"


@dataclass(frozen=True)
class _DeploymentPair:
    """Two deployments with different numbers of stored responses."""

    small: Deployment
    large: Deployment


def measure(run: Run) -> None:
    """Add the rows `growth`; record the database size and, unless `sizes.waiting` is 0, the cost of a long queue."""
    pair = run.prepare_once("growth", lambda: _filled_deployments(run))
    small, large = pair.small, pair.large
    results = run.interleave(
        small=run.floor("growth", lambda: _measure_with_empty_queue(run, small)),
        large=lambda: _measure_with_empty_queue(run, large),
        times=run.sizes.long_repetitions,
    )
    _add_point(run.curves["growth"], run.sizes.stored[-1], results["large"][-1])
    for name in CALLS:
        large_ms, small_ms = ([p50s[name] for p50s in results[series]] for series in ("large", "small"))
        run.add(ratios(f"growth: {name}", large_ms, small_ms))
    ((database_size,),) = large.sql("select pg_size_pretty(pg_database_size(current_database()))")
    run.extra_figures[f"size of the database with {run.sizes.stored[-1]:,} responses"] = database_size
    if run.sizes.waiting:
        _measure_queue(run, small)


@contextmanager
def _filled_deployments(run: Run) -> Iterator[_DeploymentPair]:
    """Fill both deployments, add a point to the curve after each step but the last, and yield them."""
    few_stored, *steps = run.sizes.stored
    models = sorted({*TEMPLATE_MODELS})
    with Deployment(run.machine, "few", 2, models) as small, Deployment(run.machine, "many", 3, models) as large:
        for deployment in (small, large):
            deployment.start("api")
            create_templates(deployment)
            fill(deployment, few_stored)
        curve = run.curves["growth"] = {name: [] for name in CALLS}
        _add_point(curve, few_stored, _measure_with_empty_queue(run, small))
        for stored in steps:
            began_at = time.monotonic()
            fill(large, stored)
            run.print_line(f"  {stored:,} responses stored ({time.monotonic() - began_at:.0f} s)")
            if stored != steps[-1]:
                _add_point(curve, stored, _measure_with_empty_queue(run, large))
        yield _DeploymentPair(small, large)


def _add_point(curve: dict[str, list[tuple[float, ...]]], count: int, p50s: dict[str, float]) -> None:
    for name, p50_ms in p50s.items():
        curve[name].append((count, p50_ms))


def _measure_with_empty_queue(run: Run, deployment: Deployment) -> dict[str, float]:
    """Measure the p50 of each call in milliseconds with an empty queue, so that submits are dispatched immediately."""
    p50s = measure_p50s(
        run, deployment, lambda payloads, seconds: run_submits(run, deployment, payloads, 1, seconds=seconds)[0].p50_ms
    )
    deployment.delete_responses(_UNFINISHED_CONDITION)
    return p50s


def _measure_queue(run: Run, deployment: Deployment) -> None:
    """Record the latency of each call with an empty and a long queue. No worker is running, so submits also wait."""
    curve: dict[str, list[tuple[float, ...]]] = {name: [] for name in CALLS}
    for count in (0, run.sizes.waiting):
        if count:
            add_waiting(deployment, count)
        p50s = measure_p50s(
            run,
            deployment,
            lambda payloads, seconds: run.requests(deployment.port, payloads, 1, {}, seconds=seconds)[0].p50_ms,
        )
        _add_point(curve, count, p50s)
        deployment.delete_responses(_UNFINISHED_CONDITION)
    run.curves["queue"] = curve
    for name, ((_, empty_ms), (waiting_count, long_ms)) in curve.items():
        run.extra_figures[f"growth: {name} with {waiting_count:,.0f} waiting, x p50 without"] = (
            f"{long_ms / empty_ms:.2f} ({empty_ms:.2f} to {long_ms:.2f} ms)"
        )

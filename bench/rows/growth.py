"""Compares the latency of calls on a deployment with many stored responses with that on one with few."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.deployment import Deployment
from bench.fill import TEMPLATE_MODELS, add_waiting, create_templates, fill
from bench.rows.calls import CALLS, measure_p50s
from bench.rows.submit import run_submits
from bench.run import Run
from bench.targets import build_ratio_row

_UNFINISHED_CONDITION = "status in ('queued', 'in_progress')"


@dataclass(frozen=True)
class _DeploymentPair:
    """Two deployments with different numbers of stored responses."""

    small: Deployment
    large: Deployment


def measure(run: Run) -> None:
    """Add the rows `growth`; record the database size and, unless `waiting_count` is 0, the effect of a long queue."""
    pair = run.prepare_once("growth", lambda: _fill_deployments(run))
    small, large = pair.small, pair.large
    results = run.interleave(
        small=run.cache_floor("growth", lambda: _measure_with_empty_queue(run, small)),
        large=lambda: _measure_with_empty_queue(run, large),
        times=run.sizes.long_repetitions,
    )
    _add_point(run.curves["growth"], run.sizes.stored_counts[-1], results["large"][-1])
    for name in CALLS:
        large_ms, small_ms = ([p50s[name] for p50s in results[series]] for series in ("large", "small"))
        run.add(build_ratio_row(f"growth: {name}", large_ms, small_ms))
    ((database_size,),) = large.sql("select pg_size_pretty(pg_database_size(current_database()))")
    run.extra_figures[f"size of the database with {run.sizes.stored_counts[-1]:,} responses"] = database_size
    if run.sizes.waiting_count:
        _measure_queue(run, small)


@contextmanager
def _fill_deployments(run: Run) -> Iterator[_DeploymentPair]:
    """Yield two filled deployments; add a point to the curve after each filling step except the last one."""
    few_stored, *steps = run.sizes.stored_counts
    models = sorted({*TEMPLATE_MODELS})
    with Deployment(run.servers, "few", 2, models) as small, Deployment(run.servers, "many", 3, models) as large:
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
        run,
        deployment,
        lambda payloads, seconds: run_submits(run, deployment, payloads, 1, seconds=seconds).figures.p50_ms,
    )
    deployment.delete_responses(_UNFINISHED_CONDITION)
    return p50s


def _measure_queue(run: Run, deployment: Deployment) -> None:
    """Record the latency of each call with an empty and with a long queue; no worker is running, so submits wait."""
    curve: dict[str, list[tuple[float, ...]]] = {name: [] for name in CALLS}
    for count in (0, run.sizes.waiting_count):
        if count:
            add_waiting(deployment, count)
        p50s = measure_p50s(
            run,
            deployment,
            lambda payloads, seconds: (
                run.measure_requests(deployment.port, payloads, 1, {}, seconds=seconds).figures.p50_ms
            ),
        )
        _add_point(curve, count, p50s)
        deployment.delete_responses(_UNFINISHED_CONDITION)
    run.curves["queue"] = curve
    for name, (empty_point, long_point) in curve.items():
        _, empty_ms = empty_point
        waiting_count, long_ms = long_point
        run.extra_figures[f"growth: {name} with {waiting_count:,.0f} waiting, x p50 without"] = (
            f"{long_ms / empty_ms:.2f} ({empty_ms:.2f} to {long_ms:.2f} ms)"
        )

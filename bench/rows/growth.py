"""Compares the same calls on two deployments, one with few stored responses and one with many."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.deployment import Deployment
from bench.fill import TEMPLATES, fill, templates, waiting
from bench.rows.calls import CALLS, p50s
from bench.rows.submit import submits
from bench.run import Run
from bench.targets import ratios

_UNFINISHED = "status in ('queued', 'in_progress')"


@dataclass(frozen=True)
class _Stored:
    """Two deployments with different numbers of stored responses."""

    few: Deployment
    many: Deployment


def measure(run: Run) -> None:
    """Add the rows `growth`; record the database size and, unless `sizes.waiting` is 0, the cost of a long queue."""
    stored = run.once("growth", lambda: _filled(run))
    few, many = stored.few, stored.many
    found = run.interleaved(
        few=run.floor("growth", lambda: _p50s(run, few)),
        many=lambda: _p50s(run, many),
        times=run.sizes.long_repetitions,
    )
    _note(run.curves["growth"], run.sizes.stored[-1], found["many"][-1])
    for name in CALLS:
        run.add(ratios(f"growth: {name}", [one[name] for one in found["many"]], [one[name] for one in found["few"]]))
    ((size,),) = many.sql("select pg_size_pretty(pg_database_size(current_database()))")
    run.beside[f"size of the database with {run.sizes.stored[-1]:,} responses"] = size
    if run.sizes.waiting:
        _queue(run, few)


@contextmanager
def _filled(run: Run) -> Iterator[_Stored]:
    """Yield both deployments, filled; adds the points measured during filling to the curve."""
    few_stored, *steps = run.sizes.stored
    models = sorted({*TEMPLATES})
    with Deployment(run.machine, "few", 2, models) as few, Deployment(run.machine, "many", 3, models) as many:
        for deployment in (few, many):
            deployment.start("api")
            templates(deployment)
            fill(deployment, few_stored)
        curve = run.curves["growth"] = {name: [] for name in CALLS}
        _note(curve, few_stored, _p50s(run, few))
        for stored in steps:
            began_at = time.monotonic()
            fill(many, stored)
            run.say(f"  {stored:,} responses stored ({time.monotonic() - began_at:.0f} s)")
            if stored != steps[-1]:
                _note(curve, stored, _p50s(run, many))
        yield _Stored(few, many)


def _note(curve: dict[str, list[tuple[float, ...]]], count: int, found: dict[str, float]) -> None:
    for name, value in found.items():
        curve[name].append((count, value))


def _p50s(run: Run, deployment: Deployment) -> dict[str, float]:
    """The p50 of each call in milliseconds with an empty queue; submits are dispatched at once."""
    found = p50s(run, deployment, lambda posts, seconds: submits(run, deployment, posts, 1, seconds=seconds)[0].p50_ms)
    deployment.forget(_UNFINISHED)
    return found


def _queue(run: Run, deployment: Deployment) -> None:
    """Record the latency of each call with a long and an empty queue; without workers, so submits also wait."""
    curve: dict[str, list[tuple[float, ...]]] = {name: [] for name in CALLS}
    for count in (0, run.sizes.waiting):
        if count:
            waiting(deployment, count)
        found = p50s(
            run,
            deployment,
            lambda posts, seconds: run.requests(deployment.port, posts, 1, {}, seconds=seconds)[0].p50_ms,
        )
        _note(curve, count, found)
        deployment.forget(_UNFINISHED)
    run.curves["queue"] = curve
    for name, ((_, without), (waited, there)) in curve.items():
        run.beside[f"growth: {name} with {waited:,.0f} waiting, x p50 without"] = (
            f"{there / without:.2f} ({without:.2f} to {there:.2f} ms)"
        )

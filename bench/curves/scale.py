"""Throughput with more processes, and the capacity per core of each kind of process, calculated from its cost.

Adds no row. All processes, including the load generator and the model server, share the cores of this machine. With
few cores, additional processes gain less than they would on a larger machine. The cost of one request hardly depends
on the number of cores.
"""

from collections import defaultdict
from collections.abc import Mapping

from bench import cpu, load, shapes
from bench.deployment import background, kind_of
from bench.load import wire
from bench.rows.completions import drained_s
from bench.rows.poll import polls
from bench.rows.relay import ours
from bench.rows.submit import submits
from bench.run import Run, Sizes

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_EVERY_MS = 20
_POLLED = 100
_STREAMS = 64

Cost = Mapping[str, float]


def measure(run: Run) -> None:
    """Record the rates by number of processes and the capacity per core, and add the curve `scale`."""
    polled, submitted = _api(run)
    completed = _workers(run)
    run.beside["on paper, responses/s of a core (created, run, polled once)"] = per_core(
        1e6, polled, submitted, completed
    )
    run.beside[f"on paper, running streams of a core, {1000 // _EVERY_MS} tokens/s each"] = per_core(1, _streams(run))


def model(sizes: Sizes) -> str:
    """The name of the model that generates as slowly as a real one."""
    return f"{sizes.stream_tokens}-tokens-every-{_EVERY_MS}ms"


def _api(run: Run) -> tuple[Cost, Cost]:
    """Measure all numbers of API processes; return the costs of a poll and of a submit with the first number."""
    deployment = run.deployment
    gets = polls(deployment, _POLLED)
    posts = [wire.post("/v1/responses", background(_MODEL), deployment.key)]
    costs = []
    for count in run.sizes.processes:
        deployment.restart_api(count)
        poll, poll_us = run.requests(deployment.port, gets, CONNECTIONS, deployment.pids)
        submit, submit_us = submits(run, deployment, posts, CONNECTIONS)
        costs.append((by_kind(poll_us), by_kind(submit_us)))
        _note(run, "polls", "API", count, poll.per_s, costs[-1][0])
        _note(run, "submits", "API", count, submit.per_s, costs[-1][1])
    deployment.restart_api()
    deployment.forget()
    return costs[0]


def _workers(run: Run) -> Cost:
    """Measure all numbers of workers; return the cost of a completion with the first number."""
    deployment, responses = run.deployment, run.sizes.completions
    payload = wire.post("/v1/responses", background(_MODEL), deployment.key)
    costs = []
    for count in run.sizes.processes:
        names = ("worker", *(f"worker-{n}" for n in range(2, count + 1)))
        deployment.stop("worker")
        deployment.forget()
        with deployment.held(_MODEL):
            deployment.start(*names)
            load.run(load.Requests(deployment.port, [payload], connections=16, count=responses))
        with cpu.spending(deployment.pids | {"models": run.machine.pids["models"]}) as spent:
            deployment.wait_until_ended(responses)
        per_s = responses / drained_s(deployment, responses)
        costs.append(by_kind(spent.each_us(responses)))
        _note(run, "completions", "worker", count, per_s, costs[-1])
        deployment.stop(*names)
    deployment.forget()
    return costs[0]


def _streams(run: Run) -> Cost:
    """Cores that one running stream uses in each process, including its creation and its end."""
    deployment = run.deployment
    deployment.start("worker")
    shape = shapes.named(model(run.sizes))
    assert shape is not None
    with cpu.spending(deployment.pids) as spent:
        ours(run, model(run.sizes), _STREAMS, _STREAMS)
    deployment.stop("worker")
    deployment.forget()
    return {name: seconds / (_STREAMS * shape.tokens * shape.every_s) for name, seconds in spent.seconds.items()}


def _note(run: Run, what: str, of: str, count: int, per_s: float, cost: Cost) -> None:
    run.curves.setdefault("scale", {}).setdefault(what, []).append((count, per_s))
    run.note_cpu(f"{what}, {of} x {count}", [cost])
    run.beside[f"{what}/s with {of} processes: {', '.join(str(n) for n in run.sizes.processes)}"] = ", ".join(
        f"{rate:,.0f}" for _, rate in run.curves["scale"][what]
    )


def by_kind(costs: Cost) -> dict[str, float]:
    """Sum the costs of all processes of one kind."""
    found: dict[str, float] = defaultdict(float)
    for name, cost in costs.items():
        found[kind_of(name)] += cost
    return dict(found)


def per_core(whole: float, *costs: Cost) -> str:
    """Text with the capacity of one core for each kind of process, and of one core that runs all of them.

    Args:
        whole: capacity of one core, in the unit of the costs.
        costs: costs by kind of process; costs of the same kind are added.
    """
    kinds = {"api": "API", "worker": "worker", "postgres": "Postgres", "valkey": "Valkey", "sweeper": "sweeper"}
    sums = {said: sum(cost.get(name, 0) for cost in costs) for name, said in kinds.items()}
    each = [f"{said} {whole / cost:,.0f}" for said, cost in sums.items() if cost > 0]
    return ", ".join([*each, f"all {whole / sum(sums.values()):,.0f}"])

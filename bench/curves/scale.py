"""What more processes bring on this machine, and what one core of each kind would do, reckoned from their costs.

No row. All processes share the machine's cores, the load generator and the model server among them: where these are
few, more processes bring less than they would elsewhere. What one request costs hardly depends on that.
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
    """Note rates by processes and what is reckoned from their costs, and add the curve `scale`."""
    polled, submitted = _api(run)
    completed = _workers(run)
    run.beside["on paper, responses/s of a core (created, run, polled once)"] = per_core(
        1e6, polled, submitted, completed
    )
    run.beside[f"on paper, running streams of a core, {1000 // _EVERY_MS} tokens/s each"] = per_core(1, _streams(run))


def model(sizes: Sizes) -> str:
    """The name of the model whose answers come as slowly as a real one's."""
    return f"{sizes.stream_tokens}-tokens-every-{_EVERY_MS}ms"


def _api(run: Run) -> tuple[Cost, Cost]:
    """The costs of a poll and a submit with one process."""
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
    """The cost of a completion with one worker."""
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
    """Cores that one stream takes of each process while it runs: created and ended, too."""
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
    """Costs of processes, those of one kind added."""
    found: dict[str, float] = defaultdict(float)
    for name, cost in costs.items():
        found[kind_of(name)] += cost
    return dict(found)


def per_core(whole: float, *costs: Cost) -> str:
    """How many a core of each kind does, and one that has to do all of it, where each takes its costs of the whole."""
    kinds = {"api": "API", "worker": "worker", "postgres": "Postgres", "valkey": "Valkey", "sweeper": "sweeper"}
    sums = {said: sum(cost.get(name, 0) for cost in costs) for name, said in kinds.items()}
    each = [f"{said} {whole / cost:,.0f}" for said, cost in sums.items() if cost > 0]
    return ", ".join([*each, f"all {whole / sum(sums.values()):,.0f}"])

"""Throughput with more processes, and the capacity per core of each kind of process, calculated from its cost.

Adds no benchmark row. All processes, including the load generator and the model server, share the cores of this
machine. With few cores, additional processes gain less than they would on a larger machine. The cost of one request
hardly depends on the number of cores.
"""

from collections import defaultdict
from collections.abc import Mapping

from bench import cpu, load, shapes
from bench.deployment import background_body, part_kind
from bench.load import wire
from bench.rows.completions import drain_duration_s
from bench.rows.poll import completed_poll_requests
from bench.rows.relay import read_product_streams
from bench.rows.submit import run_submits
from bench.run import Run, Sizes

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_TOKEN_INTERVAL_MS = 20
_POLLED_RESPONSES = 100
_STREAMS = 64

Cost = Mapping[str, float]


def measure(run: Run) -> None:
    """Record the rates by number of processes and the capacity per core, and add the curve `scale`."""
    poll_cost, submit_cost = _measure_api(run)
    completion_cost = _measure_workers(run)
    run.extra_figures["on paper, responses/s of a core (created, run, polled once)"] = describe_capacity(
        1e6, poll_cost, submit_cost, completion_cost
    )
    tokens_per_s = 1000 // _TOKEN_INTERVAL_MS
    stream_cost = _measure_stream_cost(run)
    run.extra_figures[f"on paper, running streams of a core, {tokens_per_s} tokens/s each"] = describe_capacity(
        1, stream_cost
    )


def model(sizes: Sizes) -> str:
    """Return the name of the model that sends tokens as slowly as a real model."""
    return f"{sizes.stream_tokens}-tokens-every-{_TOKEN_INTERVAL_MS}ms"


def _measure_api(run: Run) -> tuple[Cost, Cost]:
    """Measure each number of API processes; return the costs of a poll and of a submit with the first number."""
    deployment = run.deployment
    poll_payloads = completed_poll_requests(deployment, _POLLED_RESPONSES)
    submit_payloads = [wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)]
    costs = []
    for count in run.sizes.processes:
        deployment.restart_api(count)
        poll, poll_us = run.requests(deployment.port, poll_payloads, CONNECTIONS, deployment.pids)
        submit, submit_us = run_submits(run, deployment, submit_payloads, CONNECTIONS)
        costs.append((sum_by_kind(poll_us), sum_by_kind(submit_us)))
        _record(run, "polls", "API", count, poll.per_s, costs[-1][0])
        _record(run, "submits", "API", count, submit.per_s, costs[-1][1])
    deployment.restart_api()
    deployment.delete_responses()
    return costs[0]


def _measure_workers(run: Run) -> Cost:
    """Measure each number of workers; return the cost of a completion with the first number."""
    deployment, responses = run.deployment, run.sizes.completions
    payload = wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)
    costs = []
    for count in run.sizes.processes:
        names = ("worker", *(f"worker-{n}" for n in range(2, count + 1)))
        deployment.stop("worker")
        deployment.delete_responses()
        with deployment.hold_dispatch(_MODEL):
            deployment.start(*names)
            load.run(load.Requests(deployment.port, [payload], connections=16, count=responses))
        with cpu.measure_cpu_time(deployment.pids | {"models": run.machine.pids["models"]}) as cpu_time:
            deployment.wait_until_ended(responses)
        per_s = responses / drain_duration_s(deployment, responses)
        costs.append(sum_by_kind(cpu_time.per_request_us(responses)))
        _record(run, "completions", "worker", count, per_s, costs[-1])
        deployment.stop(*names)
    deployment.delete_responses()
    return costs[0]


def _measure_stream_cost(run: Run) -> Cost:
    """Measure the number of cores that one running stream uses, including its start and end, by process."""
    deployment = run.deployment
    deployment.start("worker")
    shape = shapes.find_shape(model(run.sizes))
    assert shape is not None
    with cpu.measure_cpu_time(deployment.pids) as cpu_time:
        read_product_streams(run, model(run.sizes), _STREAMS, _STREAMS)
    deployment.stop("worker")
    deployment.delete_responses()
    return {name: seconds / (_STREAMS * shape.tokens * shape.interval_s) for name, seconds in cpu_time.seconds.items()}


def _record(run: Run, operation: str, process_kind: str, count: int, per_s: float, cost: Cost) -> None:
    """Record the rate and the cost of an operation with `count` processes of a kind."""
    run.curves.setdefault("scale", {}).setdefault(operation, []).append((count, per_s))
    run.note_cpu(f"{operation}, {process_kind} x {count}", [cost])
    counts = ", ".join(str(n) for n in run.sizes.processes)
    run.extra_figures[f"{operation}/s with {process_kind} processes: {counts}"] = ", ".join(
        f"{rate:,.0f}" for _, rate in run.curves["scale"][operation]
    )


def sum_by_kind(costs: Cost) -> dict[str, float]:
    """Sum the costs of all processes of one kind."""
    sums: dict[str, float] = defaultdict(float)
    for name, cost in costs.items():
        sums[part_kind(name)] += cost
    return dict(sums)


def describe_capacity(core_capacity: float, *costs: Cost) -> str:
    """Describe the capacity of one core that runs one kind of process, and of one core that runs all of them.

    Args:
        core_capacity: processor time that one core provides, in the unit of the costs.
        costs: costs by kind of process; costs of the same kind are added.
    """
    labels = {"api": "API", "worker": "worker", "postgres": "Postgres", "valkey": "Valkey", "sweeper": "sweeper"}
    sums = {label: sum(cost.get(kind, 0) for cost in costs) for kind, label in labels.items()}
    capacities = [f"{label} {core_capacity / cost:,.0f}" for label, cost in sums.items() if cost > 0]
    return ", ".join([*capacities, f"all {core_capacity / sum(sums.values()):,.0f}"])

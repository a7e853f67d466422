"""Measures the throughput with several API processes or workers, and calculates the capacity of a core from the costs.

The module adds no benchmark row. All processes, including the load generator and the model server, share the cores of
this machine, so additional processes increase the throughput less than they would on a larger machine. The processor
time of one request hardly depends on the number of cores.
"""

from collections import defaultdict
from collections.abc import Mapping

from bench import cpu, load, shapes
from bench.deployment import background_body, part_kind
from bench.load import wire
from bench.rows.completions import drain_duration_s
from bench.rows.poll import prepare_poll_requests
from bench.rows.relay import read_product_streams
from bench.rows.submit import run_submits
from bench.run import Run, Sizes

CONNECTIONS = 64
_MODEL = "20-tokens-at-once"
_TOKEN_INTERVAL_MS = 20
_POLLED_RESPONSES = 100
_STREAMS = 64

# Processor time of one request, by process or by kind of process.
Cost = Mapping[str, float]


def measure(run: Run) -> None:
    """Record the rates by number of processes and the capacity per core, and add the curve `scale`."""
    poll_cost, submit_cost = _measure_api(run)
    completion_cost = _measure_workers(run)
    run.extra_figures["calculated responses/s of one core (created, run, polled once)"] = describe_capacity(
        1e6, poll_cost, submit_cost, completion_cost
    )
    tokens_per_s = 1000 // _TOKEN_INTERVAL_MS
    stream_cost = _measure_stream_cost(run)
    run.extra_figures[f"calculated running streams of one core, {tokens_per_s} tokens/s each"] = describe_capacity(
        1, stream_cost
    )


def model_name(sizes: Sizes) -> str:
    """Return the name of the model that sends tokens as slowly as a real model."""
    return f"{sizes.stream_token_count}-tokens-every-{_TOKEN_INTERVAL_MS}ms"


def _measure_api(run: Run) -> tuple[Cost, Cost]:
    """Measure polls and submits with each number of API processes; return their costs with the first number."""
    deployment = run.deployment
    poll_payloads = prepare_poll_requests(deployment, _POLLED_RESPONSES)
    submit_payloads = [wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)]
    costs = []
    for count in run.sizes.process_counts:
        deployment.restart_api(count)
        poll_slice = run.measure_requests(deployment.port, poll_payloads, CONNECTIONS, deployment.pids)
        submit_slice = run_submits(run, deployment, submit_payloads, CONNECTIONS)
        poll_cost, submit_cost = sum_by_kind(poll_slice.costs_us), sum_by_kind(submit_slice.costs_us)
        _record(run, "polls", "API", count, poll_slice.figures.per_s, poll_cost)
        _record(run, "submits", "API", count, submit_slice.figures.per_s, submit_cost)
        costs.append((poll_cost, submit_cost))
    deployment.restart_api()
    deployment.delete_responses()
    return costs[0]


def _measure_workers(run: Run) -> Cost:
    """Measure completions with each number of workers; return the cost of one completion with the first number."""
    deployment, count = run.deployment, run.sizes.completion_count
    payload = wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)
    costs = []
    for worker_count in run.sizes.process_counts:
        names = ("worker", *(f"worker-{n}" for n in range(2, worker_count + 1)))
        deployment.stop("worker")
        deployment.delete_responses()
        with deployment.hold_dispatch(_MODEL):
            deployment.start(*names)
            load.run(load.Requests(deployment.port, [payload], connections=16, count=count))
        with cpu.measure_cpu_time(deployment.pids | {"model_server": run.servers.pids["model_server"]}) as cpu_time:
            deployment.wait_until_ended(count)
        per_s = count / drain_duration_s(deployment, count)
        costs.append(sum_by_kind(cpu_time.per_request_us(count)))
        _record(run, "completions", "worker", worker_count, per_s, costs[-1])
        deployment.stop(*names)
    deployment.delete_responses()
    return costs[0]


def _measure_stream_cost(run: Run) -> Cost:
    """Return the number of cores that one running stream uses, including its start and its end, by process."""
    deployment = run.deployment
    deployment.start("worker")
    shape = shapes.find_shape(model_name(run.sizes))
    assert shape is not None
    with cpu.measure_cpu_time(deployment.pids) as cpu_time:
        read_product_streams(run, model_name(run.sizes), _STREAMS, _STREAMS)
    deployment.stop("worker")
    deployment.delete_responses()
    return {name: seconds / (_STREAMS * shape.tokens * shape.interval_s) for name, seconds in cpu_time.seconds.items()}


def _record(run: Run, operation: str, process_kind: str, count: int, per_s: float, cost: Cost) -> None:
    """Record the rate and the cost of an operation with `count` processes of a kind."""
    run.curves.setdefault("scale", {}).setdefault(operation, []).append((count, per_s))
    run.record_cpu_time(f"{operation}, {process_kind} x {count}", [cost])
    counts = ", ".join(str(n) for n in run.sizes.process_counts)
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

"""Compares a worker that drains a queue of responses with a worker that drains a queue of no-op Celery tasks."""

from bench import cpu, load
from bench.deployment import WORKER_SLOTS, Deployment, background_body
from bench.floors import tasks
from bench.load import wire
from bench.run import Run
from bench.targets import build_ratio_row

_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the row `completions`."""
    results = run.interleave(
        times=run.sizes.long_repetitions,
        floor=run.cache_floor("Celery tasks/s", lambda: _measure_tasks(run)),
        product=lambda: _measure_responses(run),
    )
    product, floor = ([per_s for per_s, _ in results[name]] for name in ("product", "floor"))
    run.add(build_ratio_row("completions", product, floor))
    run.record_cpu_time("Celery no-op", [costs_us for _, costs_us in results["floor"]])
    run.record_cpu_time("completion", [costs_us for _, costs_us in results["product"]])


def _measure_tasks(run: Run) -> tuple[float, dict[str, float]]:
    """Measure no-op tasks per second, and their processor time in microseconds by process."""
    count = run.sizes.noop_count
    url = run.servers.empty_redis_database(tasks.REDIS_NUMBER)
    with tasks.open_sender(url) as sender:
        sender.enqueue_noops(count)
        with tasks.run_worker(url, WORKER_SLOTS, run.servers.home) as pid:
            with cpu.measure_cpu_time({"worker": pid, "valkey": run.servers.pids["valkey"]}) as cpu_time:
                seconds = sender.measure_noops_s()
            return count / seconds, cpu_time.per_request_us(count)


def _measure_responses(run: Run) -> tuple[float, dict[str, float]]:
    """Measure completed responses per second, and their processor time in microseconds by process."""
    deployment, count = run.deployment, run.sizes.completion_count
    deployment.stop("worker")
    deployment.delete_responses()
    payload = wire.post_request("/v1/responses", background_body(_MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=16, count=count))
    deployment.start("worker")
    ended_before = deployment.count_ended()  # during the start of the worker
    with cpu.measure_cpu_time(deployment.pids | {"model_server": run.servers.pids["model_server"]}) as cpu_time:
        deployment.wait_until_ended(count)
    return count / drain_duration_s(deployment, count), cpu_time.per_request_us(count - ended_before)


def drain_duration_s(deployment: Deployment, count: int) -> float:
    """Return the seconds from the first start to the last end of the stored responses.

    Raises:
        load.LoadError: the number of completed responses is not `count`.
    """
    ((seconds, completed_count),) = deployment.sql(
        "select extract(epoch from max(finished_at) - min(started_at))::float,"
        " count(*) filter (where status = 'completed') from responses"
    )
    if completed_count != count:
        raise load.LoadError(f"Only {completed_count} of {count} responses completed.")
    return float(seconds)

"""Compares a worker that drains responses of an instantaneous model with one that drains no-op Celery tasks."""

from bench import cpu, load
from bench.deployment import SLOTS, Deployment, background
from bench.floors import tasks
from bench.load import wire
from bench.run import Run
from bench.targets import ratios

_MODEL = "20-tokens-at-once"


def measure(run: Run) -> None:
    """Add the row `completions`."""
    found = run.interleaved(
        times=run.sizes.long_repetitions,
        floor=run.floor("Celery tasks/s", lambda: _tasks(run)),
        path=lambda: _responses(run),
    )
    run.add(ratios("completions", [per_s for per_s, _ in found["path"]], [per_s for per_s, _ in found["floor"]]))
    run.note_cpu("Celery no-op", [each for _, each in found["floor"]])
    run.note_cpu("completion", [each for _, each in found["path"]])


def _tasks(run: Run) -> tuple[float, dict[str, float]]:
    count = run.sizes.tasks
    url = run.machine.redis_url(9)
    with tasks.sender(url) as sender:
        sender.fill(count)
        with tasks.worker(url, SLOTS, run.machine.home) as pid:
            with cpu.spending({"worker": pid, "valkey": run.machine.pids["valkey"]}) as spent:
                seconds = sender.between_marks_s()
            return count / seconds, spent.each_us(count)


def _responses(run: Run) -> tuple[float, dict[str, float]]:
    deployment, count = run.deployment, run.sizes.completions
    deployment.stop("worker")
    deployment.forget()
    payload = wire.post("/v1/responses", background(_MODEL), deployment.key)
    load.run(load.Requests(deployment.port, [payload], connections=16, count=count))
    deployment.start("worker")
    before = deployment.ended()
    with cpu.spending(deployment.pids | {"models": run.machine.pids["models"]}) as spent:
        deployment.wait_until_ended(count)
    return count / drained_s(deployment, count), spent.each_us(count - before)


def drained_s(deployment: Deployment, count: int) -> float:
    """Seconds from the first start to the last end of all responses.

    Raises:
        load.Failed: the number of completed responses is not `count`.
    """
    ((seconds, completed),) = deployment.sql(
        "select extract(epoch from max(finished_at) - min(started_at))::float,"
        " count(*) filter (where status = 'completed') from responses"
    )
    if completed != count:
        raise load.Failed(f"Only {completed} of {count} responses completed.")
    return float(seconds)

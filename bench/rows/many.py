"""Compares many concurrent responses in one worker with one process that reads the same answers directly."""

import threading
import time
from statistics import median
from typing import Self

from bench import cpu, load, shapes
from bench.deployment import background
from bench.load import wire
from bench.run import Run, Sizes
from bench.targets import Row, ratios

_EVERY_MS = 200
_SAMPLE_S = 0.25


def measure(run: Run) -> None:
    """Add the rows `many at once`."""
    found = run.interleaved(
        times=run.sizes.long_repetitions,
        floor=run.floor("many, straight", lambda: _straight(run)),
        path=lambda: _through_us(run),
    )
    path = found["path"]
    run.add(Row("many at once: together", [share for share, _, _, _, _ in path]))
    run.add(ratios("many at once: wall", [wall for _, wall, _, _, _ in path], [wall for (wall,) in found["floor"]]))
    run.add(Row("many at once: memory", [more for _, _, _, _, more in path], [idle for _, _, _, idle, _ in path]))
    run.beside["many at once: s from the first start to the last end"] = round(median(one[2] for one in path), 2)


def model(sizes: Sizes) -> str:
    """The name of the model whose answers take `many_s` seconds."""
    return f"{sizes.many_s * 1000 // _EVERY_MS}-tokens-every-{_EVERY_MS}ms"


def _straight(run: Run) -> tuple[float, ...]:
    count = run.sizes.many
    payloads = [wire.post("/v1/chat/completions", shapes.body(model(run.sizes)))] * count
    return (load.run(load.Streams(run.machine.models.port, payloads, count, marker=shapes.MARK, end="[DONE]")).seconds,)


def _through_us(run: Run) -> tuple[float, ...]:
    """Run the responses; return the results.

    Returns:
        The share in progress at one moment, seconds from the first submit and from the first start to the last end,
        memory of the idle worker and its increase, both in MB.
    """
    deployment, count = run.deployment, run.sizes.many
    deployment.stop("worker")
    deployment.forget()
    deployment.start("worker")
    deployment.call("POST", "/responses", background("20-tokens-at-once"))
    deployment.wait_until_ended(1)
    deployment.forget()
    payload = wire.post("/v1/responses", background(model(run.sizes)), deployment.key)
    began_at = time.time()
    with _Memory(deployment.pids["worker"]) as memory:
        load.run(load.Requests(deployment.port, [payload], connections=64, count=count))
        deployment.wait_until_ended(count)
    ((first, last, completed, together),) = deployment.sql(_WHEN)
    if completed != count:
        raise load.Failed(f"Only {completed} of {count} responses completed.")
    return together / count, last - began_at, last - first, memory.idle_mb, memory.most_mb - memory.idle_mb


_WHEN = """
select extract(epoch from min(started_at))::float, extract(epoch from max(finished_at))::float,
    count(*) filter (where status = 'completed'),
    (select max(n) from (
        select sum(change) over (order by at) as n from (
            select started_at as at, 1 as change from responses
            union all select finished_at, -1 from responses) changes) running)
from responses
"""


class _Memory:
    """Peak memory of a process inside the block, sampled every `_SAMPLE_S` seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self.idle_mb = self.most_mb = cpu.memory_mb(pid)

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.most_mb = max(self.most_mb, cpu.memory_mb(self._pid))

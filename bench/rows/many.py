"""Compares one worker that runs many responses with a process that reads the same streams from the model server."""

import threading
import time
from statistics import median
from typing import Self

from bench import cpu, load, shapes
from bench.deployment import background_body
from bench.load import wire
from bench.run import Run, Sizes
from bench.targets import Row, ratios

_TOKEN_INTERVAL_MS = 200
_SAMPLE_INTERVAL_S = 0.25


def measure(run: Run) -> None:
    """Add the rows `many at once`."""
    results = run.interleave(
        times=run.sizes.long_repetitions,
        floor=run.floor("many, direct", lambda: _read_directly(run)),
        product=lambda: _run_responses(run),
    )
    shares, wall_s, running_s, idle_mb, added_mb = zip(*results["product"], strict=True)
    (floor_s,) = zip(*results["floor"], strict=True)
    run.add(Row("many at once: together", shares))
    run.add(ratios("many at once: wall", wall_s, floor_s))
    run.add(Row("many at once: memory", added_mb, idle_mb))
    run.extra_figures["many at once: s from the first start to the last end"] = round(median(running_s), 2)


def model(sizes: Sizes) -> str:
    """Return the name of the model that sends its tokens over `many_s` seconds."""
    return f"{sizes.many_s * 1000 // _TOKEN_INTERVAL_MS}-tokens-every-{_TOKEN_INTERVAL_MS}ms"


def _read_directly(run: Run) -> tuple[float, ...]:
    """Read the same streams directly from the model server; return the duration in seconds."""
    count = run.sizes.many
    payloads = [wire.post_request("/v1/chat/completions", shapes.chat_request(model(run.sizes)))] * count
    figures = load.run(load.Streams(run.machine.models.port, payloads, count, marker=shapes.MARK, end="[DONE]"))
    return (figures.seconds,)


def _run_responses(run: Run) -> tuple[float, ...]:
    """Run all responses concurrently in one worker.

    Returns:
        The largest share of the responses in progress at one moment; the seconds from the first submit to the last end,
        and from the first start to the last end; the memory of the idle worker and its increase, both in MB.
    """
    deployment, count = run.deployment, run.sizes.many
    deployment.stop("worker")
    deployment.delete_responses()
    deployment.start("worker")
    deployment.call("POST", "/responses", background_body("20-tokens-at-once"))
    deployment.wait_until_ended(1)
    deployment.delete_responses()
    payload = wire.post_request("/v1/responses", background_body(model(run.sizes)), deployment.key)
    began_at = time.time()
    with _MemorySampler(deployment.pids["worker"]) as memory:
        load.run(load.Requests(deployment.port, [payload], connections=64, count=count))
        deployment.wait_until_ended(count)
    ((first_start, last_end, completed_count, max_running),) = deployment.sql(_RESULT_QUERY)
    if completed_count != count:
        raise load.LoadError(f"Only {completed_count} of {count} responses completed.")
    added_mb = memory.peak_mb - memory.idle_mb
    return max_running / count, last_end - began_at, last_end - first_start, memory.idle_mb, added_mb


_RESULT_QUERY = """
select extract(epoch from min(started_at))::float, extract(epoch from max(finished_at))::float,
    count(*) filter (where status = 'completed'),
    (select max(n) from (
        select sum(change) over (order by at) as n from (
            select started_at as at, 1 as change from responses
            union all select finished_at, -1 from responses) changes) running)
from responses
"""


class _MemorySampler:
    """Context manager that samples the memory of a process every `_SAMPLE_INTERVAL_S` seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.idle_mb = self.peak_mb = cpu.memory_mb(pid)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_INTERVAL_S):
            self.peak_mb = max(self.peak_mb, cpu.memory_mb(self._pid))

"""Compares one worker that runs many responses at once with a process that reads the same streams directly."""

import threading
import time
from statistics import median
from typing import NamedTuple, Self

from bench import cpu, load, shapes
from bench.deployment import background_body
from bench.load import wire
from bench.run import Run, Sizes
from bench.targets import Row, build_ratio_row

_TOKEN_INTERVAL_MS = 200
_SAMPLE_INTERVAL_S = 0.25


class _Result(NamedTuple):
    """The result of running all responses at once.

    Args:
        running_share: largest share of the responses that were in progress at the same time.
        wall_s: seconds from the first submit to the last end.
        running_s: seconds from the first start to the last end.
        idle_mb: memory of the idle worker in MB.
        added_mb: increase of the memory of the worker in MB.
    """

    running_share: float
    wall_s: float
    running_s: float
    idle_mb: float
    added_mb: float


def measure(run: Run) -> None:
    """Add the rows `many at once`."""
    measure_floor_s = run.cache_floor("many, direct", lambda: _read_directly_s(run))
    floors_s: list[float] = []
    results: list[_Result] = []
    for _ in range(run.sizes.long_repetitions):
        floors_s.append(measure_floor_s())
        results.append(_run_responses(run))
    run.add(Row("many at once: together", [result.running_share for result in results]))
    run.add(build_ratio_row("many at once: wall", [result.wall_s for result in results], floors_s))
    added_mb, idle_mb = [result.added_mb for result in results], [result.idle_mb for result in results]
    run.add(Row("many at once: memory", added_mb, idle_mb))
    running_s = median(result.running_s for result in results)
    run.extra_figures["many at once: s from the first start to the last end"] = round(running_s, 2)


def model_name(sizes: Sizes) -> str:
    """Return the name of the model that sends its tokens over `concurrent_duration_s` seconds."""
    return f"{sizes.concurrent_duration_s * 1000 // _TOKEN_INTERVAL_MS}-tokens-every-{_TOKEN_INTERVAL_MS}ms"


def _read_directly_s(run: Run) -> float:
    """Read the same streams directly from the model server; return the duration in seconds."""
    count = run.sizes.concurrent_count
    payloads = [wire.post_request("/v1/chat/completions", shapes.chat_request(model_name(run.sizes)))] * count
    figures = load.run(load.Streams(run.servers.model_server.port, payloads, count, marker=shapes.MARKER, end="[DONE]"))
    return figures.seconds


def _run_responses(run: Run) -> _Result:
    """Run all responses concurrently in one worker."""
    deployment, count = run.deployment, run.sizes.concurrent_count
    deployment.stop("worker")
    deployment.delete_responses()
    deployment.start("worker")
    deployment.call("POST", "/responses", background_body("20-tokens-at-once"))
    deployment.wait_until_ended(1)
    deployment.delete_responses()
    payload = wire.post_request("/v1/responses", background_body(model_name(run.sizes)), deployment.key)
    began_at = time.time()
    with _MemorySampler(deployment.pids["worker"]) as memory:
        load.run(load.Requests(deployment.port, [payload], connections=64, count=count))
        deployment.wait_until_ended(count)
    ((first_start, last_end, completed_count, max_running),) = deployment.sql(_RESULT_QUERY)
    if completed_count != count:
        raise load.LoadError(f"Only {completed_count} of {count} responses completed.")
    return _Result(
        running_share=max_running / count,
        wall_s=last_end - began_at,
        running_s=last_end - first_start,
        idle_mb=memory.idle_mb,
        added_mb=memory.peak_mb - memory.idle_mb,
    )


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

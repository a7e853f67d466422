"""Runs no-op tasks in a Celery worker with the product's pool and settings, to measure the cost of a Celery message.

Usage: `python -m bench.floors.tasks REDIS_URL WORKER_SLOTS`.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery, signals

from core import log
from core.dispatch import celery_app
from core.settings import Settings, load
from local.home import Home
from local.processes.child import Part, running
from local.servers import packages

NOOP_TASK = "bench.noop"
MARK_TASK = "bench.mark"
_LANE = "bench"
_MARK_LIST = "bench:marks"
_TIMEOUT_S = 60
# Number of the Valkey database for the tasks, which no deployment uses.
REDIS_NUMBER = 9


def create_app(redis_url: str) -> Celery:
    """Create the Celery application of the product with a lane for this floor only; sender and worker use it."""
    return celery_app.celery_app(redis_url, [_LANE])


class Sender:
    """Sends no-op tasks and mark tasks. A mark task reports to the sender the time at which it runs."""

    def __init__(self, redis_url: str) -> None:
        self._app = create_app(redis_url)
        # `_wait_for_mark` blocks for up to `_TIMEOUT_S`, which is longer than the default socket timeout of redis-py.
        self._client = redis.Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S + 5)
        self._client.delete(_MARK_LIST)
        self._producers = self._app.producer_pool

    def close(self) -> None:
        self._app.close()
        self._client.close()

    def enqueue_noops(self, count: int) -> None:
        """Enqueue a mark task, `count` no-op tasks and another mark task."""
        self._send(MARK_TASK, *[NOOP_TASK] * count, MARK_TASK)

    def _send(self, *task_names: str) -> None:
        lane: Any = celery_app.lane_queue(_LANE)  # the type stubs accept names only
        with self._producers.acquire(block=True) as producer:
            for name in task_names:
                self._app.send_task(name, ("resp_" + 48 * "0",), queue=lane, producer=producer, retry=False)

    def measure_noops_s(self) -> float:
        """Wait until both mark tasks of `enqueue_noops` have run; return the seconds between them."""
        first_at, second_at = self._wait_for_mark(), self._wait_for_mark()
        return second_at - first_at

    def measure_round_trip_ms(self) -> float:
        """Send a mark task; return the milliseconds until its report arrives."""
        began_at = time.monotonic()
        self._send(MARK_TASK)
        self._wait_for_mark()
        return 1000 * (time.monotonic() - began_at)

    def _wait_for_mark(self) -> float:
        mark_entry: Any = self._client.blpop([_MARK_LIST], timeout=_TIMEOUT_S)
        if mark_entry is None:
            raise TimeoutError(f"No mark task ran within {_TIMEOUT_S} s.")
        _, run_at = mark_entry
        return float(run_at)


@contextmanager
def run_worker(redis_url: str, slots: int, home: Home) -> Iterator[int]:
    """Run a worker inside the block; yield its PID."""
    part = Part(
        name="floor-tasks",
        argv=[sys.executable, "-m", "bench.floors.tasks", redis_url, str(slots)],
        cwd=packages.ROOT,
        ready=lambda _: True,
    )
    with running(part, home) as child:
        yield child.pid


@contextmanager
def open_sender(redis_url: str) -> Iterator[Sender]:
    """Yield a sender and close it on exit."""
    sender = Sender(redis_url)
    try:
        yield sender
    finally:
        sender.close()


def main(redis_url: str, settings: Settings) -> None:
    """Run a worker with the same Celery options as `worker/consumer/program.py`; a test checks that they are equal."""
    log.configure(settings.log_level)
    worker_id, lanes = "worker-bench@floor", [_LANE]
    app = create_app(redis_url)
    app.conf.update(
        broker_transport="worker.consumer.transport:Transport",
        worker_pool="worker.consumer.pool:AioPool",
        worker_consumer="worker.consumer.transport:Consumer",
        worker_soft_shutdown_timeout=settings.drain_s,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_queues=[*app.conf.task_queues, celery_app.worker_queue(worker_id)],
    )
    client = redis.Redis.from_url(redis_url)

    @app.task(name=NOOP_TASK, ignore_result=True, shared=False)
    async def noop(response_id: str) -> str:
        return response_id

    @app.task(name=MARK_TASK, ignore_result=True, shared=False)
    async def mark(_: str) -> None:
        client.rpush(_MARK_LIST, time.monotonic())

    signals.setup_logging.connect(lambda **_: None, weak=False)
    queues = [*map(celery_app.queue_name, lanes), celery_app.worker_queue(worker_id).name]
    app.start(
        [
            "--quiet",
            "worker",
            f"--hostname={worker_id}",
            f"--concurrency={settings.worker_slots}",
            f"--queues={','.join(queues)}",
            f"--loglevel={settings.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--task-events",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1], load().model_copy(update={"worker_slots": int(sys.argv[2]), "drain_s": 1.0}))

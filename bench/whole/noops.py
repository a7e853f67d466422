"""Floor F1: sends no-op Celery tasks at a given rate to a worker, with task events and Flower."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from bench import cpu
from bench.floors import tasks
from bench.run import Run
from bench.servers import Servers
from bench.whole.system import WORKER_SLOTS
from core.settings import PREFIX
from local import ports, web
from local.processes.child import Part, running
from local.servers import packages

# Number of the Valkey database for the tasks; `bench.floors.tasks.REDIS_NUMBER` is flushed during the run.
_REDIS_NUMBER = 8


class Sender(tasks.Sender):
    """Sends no-op tasks at a fixed rate."""

    def send_at_rate(self, count: int, per_s: float) -> None:
        """Send `count` tasks, each at or shortly after its scheduled time, and wait until the last one has run.

        The last task is a mark task, which reports when it runs.
        """
        began_at = time.monotonic()
        for number in range(count):
            time.sleep(max(0, began_at + number / per_s - time.monotonic()))
            if number < count - 1:
                self._send(tasks.NOOP_TASK)
        self.measure_round_trip_ms()


@dataclass(frozen=True)
class Noops:
    """A sender of no-op tasks, the worker that runs them, and the Flower that monitors the worker.

    Args:
        pids: PIDs of `worker`, `flower` and `valkey`.
    """

    sender: Sender
    pids: dict[str, int]

    @staticmethod
    def for_run(run: Run) -> "Noops":
        """Return the floor of this run, which starts on the first call and stops at the end of the benchmark."""
        return run.prepare_once("whole: F1", lambda: nullcontext(run.servers.enter(_run_floor(run.servers))))

    def measure(self, per_s: float, duration_s: float) -> dict[str, float]:
        """Send tasks; return the processor time in ms per task by process. `sender` is the current process."""
        count = max(1, round(per_s * duration_s))
        sender_start_s = time.process_time()
        with cpu.measure_cpu_time(self.pids) as cpu_time:
            self.sender.send_at_rate(count, per_s)
        sender_s = time.process_time() - sender_start_s
        all_seconds = cpu_time.seconds | {"sender": sender_s}
        return {name: 1000 * seconds / count for name, seconds in all_seconds.items()}


@contextmanager
def _run_floor(servers: Servers) -> Iterator[Noops]:
    url = servers.empty_redis_database(_REDIS_NUMBER)
    with (
        running(_flower_part(url), servers.home) as flower,
        tasks.run_worker(url, WORKER_SLOTS, servers.home) as worker,
    ):
        sender = Sender(url)
        try:
            sender.measure_round_trip_ms()  # wait until the worker consumes tasks
            yield Noops(sender, {"worker": worker, "flower": flower.pid, "valkey": servers.pids["valkey"]})
        finally:
            sender.close()


def _flower_part(redis_url: str) -> Part:
    port = ports.free_port()
    return Part(
        name="floor-flower",
        argv=[sys.executable, "-m", "cli.main", "flower"],
        cwd=packages.ROOT,
        env={PREFIX + "REDIS_URL": redis_url, PREFIX + "FLOWER_PORT": str(port)},
        ready=lambda _: web.status(f"http://127.0.0.1:{port}/") is not None,
    )

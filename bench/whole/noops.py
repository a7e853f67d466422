"""Floor F1: no-op Celery tasks at a given rate, with task events enabled and Flower running."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from bench import cpu
from bench.floors import tasks
from bench.machine import Machine
from bench.run import Run
from bench.whole.system import SLOTS
from core.settings import PREFIX
from local import ports, web
from local.processes.child import Part, running
from local.servers import packages

# Number of the Valkey database. The other floors use 9 and flush it.
_REDIS_NUMBER = 8


class Sender(tasks.Sender):
    """Sends no-ops at a fixed rate."""

    def at_rate(self, count: int, per_s: float) -> None:
        """Send `count` tasks, each at its scheduled time or as soon as possible after it, and wait until all have run.

        The last task is a mark, whose execution is reported back.
        """
        began_at = time.monotonic()
        for number in range(count - 1):
            time.sleep(max(0, began_at + number / per_s - time.monotonic()))
            self._send(tasks.NOOP)
        self.round_trip_ms()


@dataclass(frozen=True)
class Noops:
    """A worker with no-op tasks and a Flower that monitors it, on the benchmark's own Valkey.

    Args:
        pids: PIDs of `worker`, `flower` and `valkey`.
    """

    sender: Sender
    pids: dict[str, int]

    @staticmethod
    def of(run: Run) -> "Noops":
        """The floor of this run; started on the first call and stopped at the end of the benchmark."""
        return run.once("whole: F1", lambda: nullcontext(run.machine.enter(_running(run.machine))))

    def measure(self, per_s: float, seconds: float) -> dict[str, float]:
        """Processor time per task in milliseconds, by process; `sender` is the client's share, in this process."""
        count = max(1, round(per_s * seconds))
        began_s = time.process_time()
        with cpu.spending(self.pids) as spent:
            self.sender.at_rate(count, per_s)
        ours = time.process_time() - began_s
        return {name: 1000 * each / count for name, each in (spent.seconds | {"sender": ours}).items()}


@contextmanager
def _running(machine: Machine) -> Iterator[Noops]:
    url = machine.redis_url(_REDIS_NUMBER)
    with running(_flower(url), machine.home) as flower, tasks.worker(url, SLOTS, machine.home) as worker:
        sender = Sender(url)
        try:
            sender.round_trip_ms()  # wait until the worker consumes
            yield Noops(sender, {"worker": worker, "flower": flower.pid, "valkey": machine.pids["valkey"]})
        finally:
            sender.close()


def _flower(redis_url: str) -> Part:
    port = ports.free()
    return Part(
        name="floor-flower",
        argv=[sys.executable, "-m", "cli.main", "flower"],
        cwd=packages.ROOT,
        env={PREFIX + "REDIS_URL": redis_url, PREFIX + "FLOWER_PORT": str(port)},
        ready=lambda _: web.status(f"http://127.0.0.1:{port}/") is not None,
    )

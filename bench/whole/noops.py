"""Floor F1: Celery tasks that do nothing, at a given rate, with events on and Flower alive."""

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

# Databases of Valkey are counted from 0; the other floors use 9, and empty it.
_REDIS_NUMBER = 8


class Sender(tasks.Sender):
    """Sends no-ops at a fixed rate."""

    def at_rate(self, count: int, per_s: float) -> None:
        """Send so many, each at its instant or as soon after it as can be, and return when all have run.

        The last one is a mark, whose run is heard of.
        """
        began_at = time.monotonic()
        for number in range(count - 1):
            time.sleep(max(0, began_at + number / per_s - time.monotonic()))
            self._send(tasks.NOOP)
        self.round_trip_ms()


@dataclass(frozen=True)
class Noops:
    """A worker that does nothing and a Flower that watches it, on the benchmark's own Valkey.

    Args:
        pids: of the worker, Flower and Valkey.
    """

    sender: Sender
    pids: dict[str, int]

    @staticmethod
    def of(run: Run) -> "Noops":
        """The floor of this benchmark, started when it is first asked for and stopped at the end."""
        return run.once("whole: F1", lambda: nullcontext(run.machine.enter(_running(run.machine))))

    def measure(self, per_s: float, seconds: float) -> dict[str, float]:
        """Milliseconds of processor time per task, by process; `sender` is the client's part, in this process."""
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
            sender.round_trip_ms()  # the worker consumes
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

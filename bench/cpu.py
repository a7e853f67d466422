"""Processor time of processes and all their children, between two instants."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil


class Spent:
    """Seconds of processor time by the names of processes; filled at the end of `spending`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def each_us(self, count: int) -> dict[str, float]:
        """Microseconds for each of `count` requests, of processes that did anything."""
        found = {name: 1e6 * seconds / count for name, seconds in self.seconds.items()} if count else {}
        return {name: round(us) for name, us in found.items() if us >= 1}


@contextmanager
def spending(pids: Mapping[str, int]) -> Iterator[Spent]:
    """What the processes spend inside the block."""
    spent = Spent()
    before = {name: _spent(pid) for name, pid in pids.items()}
    yield spent
    spent.seconds = {name: _spent(pid) - before[name] for name, pid in pids.items()}


def _spent(pid: int) -> float:
    """What a process, those of its children that it outlived, and those that live, have spent."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for member in family:
        try:
            total += _own(member.pid) + sum(member.cpu_times()[2:4])
        except (psutil.NoSuchProcess, OSError):
            continue
    return total


def _own(pid: int) -> float:
    """Seconds of a process itself, threads that ended included. Linux only.

    This is the process's POSIX clock, as `clock_getcpuclockid` names it, in nanoseconds. The times in /proc are cut to
    steps of 10 ms, for each process anew, which is much where two dozen processes share a short measurement.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int) -> float:
    """Memory that is a process's own, in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / 1e6

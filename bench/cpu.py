"""Measures the processor time of processes and all of their descendants."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil


class Spent:
    """Processor time in seconds by process name; set on exit from `spending`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def each_us(self, count: int) -> dict[str, float]:
        """Microseconds per request for `count` requests, by process; processes with less than 1 us are omitted."""
        found = {name: 1e6 * seconds / count for name, seconds in self.seconds.items()} if count else {}
        return {name: round(us) for name, us in found.items() if us >= 1}


@contextmanager
def spending(pids: Mapping[str, int]) -> Iterator[Spent]:
    """Measure the processor time that the processes use inside the block."""
    spent = Spent()
    before = {name: _spent(pid) for name, pid in pids.items()}
    yield spent
    spent.seconds = {name: _spent(pid) - before[name] for name, pid in pids.items()}


def _spent(pid: int) -> float:
    """Total processor time of a process, its terminated children and its live descendants."""
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
    """Processor time in seconds of the process itself, including terminated threads. Linux only.

    Reads the POSIX CPU-time clock of the process (see `clock_getcpuclockid`), which has nanosecond resolution. The
    times in /proc are truncated to 10 ms per process, which is a large error for a short measurement of two dozen
    processes.

    Raises:
        OSError: the process does not exist.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int) -> float:
    """Unique set size (USS) of a process in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / 1e6

"""Measures the processor time of processes with all of their descendants, and the memory of a process."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil

# The bits of a Linux clock ID that select the running time of a complete process (`CPUCLOCK_SCHED` of the kernel).
_PROCESS_CLOCK_BITS = 2
_PID_SHIFT = 3


class CpuTime:
    """Processor time by process name, in seconds; `measure_cpu_time` sets it at the end of its block."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def per_request_us(self, count: int) -> dict[str, float]:
        """Return the microseconds per request by process, for `count` requests; processes below 1 us are omitted."""
        if not count:
            return {}
        costs_us = {name: 1e6 * seconds / count for name, seconds in self.seconds.items()}
        return {name: round(cost_us) for name, cost_us in costs_us.items() if cost_us >= 1}


@contextmanager
def measure_cpu_time(pids: Mapping[str, int]) -> Iterator[CpuTime]:
    """Measure the processor time that the processes use inside the block."""
    cpu_time = CpuTime()
    start_seconds = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    yield cpu_time
    cpu_time.seconds = {name: _cpu_seconds(pid) - start_seconds[name] for name, pid in pids.items()}


def _cpu_seconds(pid: int) -> float:
    """Return the total processor time of a process, its terminated children and its live descendants."""
    try:
        process = psutil.Process(pid)
        processes = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for member in processes:
        try:
            times = member.cpu_times()
            total += _own_seconds(member.pid) + times.children_user + times.children_system
        except (psutil.NoSuchProcess, OSError):
            continue
    return total


def _own_seconds(pid: int) -> float:
    """Return the processor time of the process itself in seconds, including terminated threads. Linux only.

    Reads the POSIX CPU-time clock of the process (see `clock_getcpuclockid`), which has nanosecond resolution. The
    times in /proc are truncated to 10 ms per process, a large error for a short measurement of two dozen processes.

    Raises:
        OSError: the process does not exist.
    """
    return time.clock_gettime((~pid << _PID_SHIFT) | _PROCESS_CLOCK_BITS)


def memory_mb(pid: int) -> float:
    """Return the unique set size (USS) of a process in MB."""
    return float(psutil.Process(pid).memory_full_info().uss) / 1e6

"""Measures the proportional set size (PSS): a page shared by n processes counts as 1/n for each. Linux only."""

from collections.abc import Iterable
from pathlib import Path

import psutil


def total_mb(pids: Iterable[int]) -> float:
    """Return the total PSS of processes and their descendants in MB; a child that exits during the call counts as 0.

    Raises:
        psutil.NoSuchProcess: one of `pids` does not exist.
    """
    total_bytes = 0
    for pid in pids:
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            total_bytes += _pss_bytes(member.pid)
    return total_bytes / 1e6


def _pss_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    (pss,) = (line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
    return 1024 * int(pss)

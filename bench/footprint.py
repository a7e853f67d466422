"""Resource usage of a process and its descendants: memory, open files and threads. Linux only: reads /proc."""

from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")
_KB = 1024


@dataclass(frozen=True)
class Footprint:
    """Resource usage of a process, including its descendants.

    Args:
        own_bytes: memory that the processes allocated; shared pages count proportionally. Program files and the shared
            memory of Postgres are excluded, because they are loaded once and do not indicate a leak.
        rss_bytes: resident memory; a shared page counts fully for each process.
        files: number of open file descriptors.
    """

    own_bytes: int
    rss_bytes: int
    files: int
    threads: int


def measure_footprint(pid: int) -> Footprint:
    """Measure the current usage of a process; a child that exits during the call counts as zero.

    Raises:
        psutil.NoSuchProcess: the process does not exist.
    """
    process = psutil.Process(pid)
    footprints = [_read_process(member.pid) for member in (process, *process.children(recursive=True))]
    return Footprint(*(sum(column) for column in zip(*footprints, strict=True)))


def _read_process(pid: int) -> tuple[int, int, int, int]:
    folder = _PROC / str(pid)
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        kb = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        anonymous, rss = _KB * kb["Pss_Anon"], _KB * kb["Rss"]
        return anonymous, rss, len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0, 0, 0

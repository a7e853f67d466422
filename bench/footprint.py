"""Resource usage of a process and its descendants: memory, open files, threads. Linux only: it reads /proc."""

from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")
_KB = 1024


@dataclass(frozen=True)
class Footprint:
    """Resource usage of a process, including its descendants.

    Args:
        own_bytes: allocated (anonymous) memory; shared pages count proportionally. It excludes program files and the
            shared memory of Postgres, which fill up once and are not growth.
        rss_bytes: resident memory; shared pages count once for each process.
        files: open file descriptors.
    """

    own_bytes: int
    rss_bytes: int
    files: int
    threads: int


def of(pid: int) -> Footprint:
    """The current usage of a process; a child that exits during the call counts as zero.

    Raises:
        psutil.NoSuchProcess: the process does not exist.
    """
    process = psutil.Process(pid)
    found = [_one(member.pid) for member in (process, *process.children(recursive=True))]
    return Footprint(*(sum(column) for column in zip(*found, strict=True)))


def _one(pid: int) -> tuple[int, int, int, int]:
    folder = _PROC / str(pid)
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        kb = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        own, rss = _KB * kb["Pss_Anon"], _KB * kb["Rss"]
        return own, rss, len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0, 0, 0

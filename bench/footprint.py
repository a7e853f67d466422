"""What a process and its children hold: memory, open files, threads. Linux only: it reads /proc."""

from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")
_KB = 1024


@dataclass(frozen=True)
class Footprint:
    """What a process holds, its children added.

    Args:
        own_bytes: memory that it allocated; pages that several processes share count by shares. Neither programs'
            files nor what Postgres's processes have in common are in it: these fill up once, and are no growth.
        rss_bytes: all that is resident; what processes share counts for each.
        files: open descriptors.
    """

    own_bytes: int
    rss_bytes: int
    files: int
    threads: int


def of(pid: int) -> Footprint:
    """What a process holds now; a child that ends meanwhile holds nothing.

    Raises:
        psutil.NoSuchProcess: there is no such process.
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

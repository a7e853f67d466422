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
        threads: number of threads.
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
    return Footprint(
        own_bytes=sum(footprint.own_bytes for footprint in footprints),
        rss_bytes=sum(footprint.rss_bytes for footprint in footprints),
        files=sum(footprint.files for footprint in footprints),
        threads=sum(footprint.threads for footprint in footprints),
    )


def _read_process(pid: int) -> Footprint:
    """Return the footprint of the process itself; all numbers are 0 if it has exited."""
    folder = _PROC / str(pid)
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        fields = dict(line.split(":", 1) for line in lines)
        return Footprint(
            own_bytes=_parse_bytes(fields["Pss_Anon"]),
            rss_bytes=_parse_bytes(fields["Rss"]),
            files=len(list((folder / "fd").iterdir())),
            threads=len(list((folder / "task").iterdir())),
        )
    except (FileNotFoundError, ProcessLookupError):
        return Footprint(0, 0, 0, 0)


def _parse_bytes(value: str) -> int:
    """Return the bytes of a value of /proc such as `  1234 kB`."""
    return _KB * int(value.split(maxsplit=1)[0])

"""The lock that keeps two stacks from running in one folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from core import errors
from local.home import Home


class AlreadyRuns(errors.Error):
    """Another stack runs in this folder."""


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it however we end.

    Raises:
        AlreadyRuns: another process holds it; the text names it.
    """
    with (home.run / "up.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRuns(f"`backburner up` already runs in {home.path} (pid {holder}).") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)

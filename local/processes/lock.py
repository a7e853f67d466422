"""The lock that prevents two stacks from running in one folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from core import errors
from local.home import Home


class StackAlreadyRunningError(errors.Error):
    """Another stack is running in this folder."""


@contextlib.contextmanager
def lock_folder(home: Home) -> Iterator[None]:
    """Hold the lock of the folder; the kernel releases it even if this process is killed.

    Raises:
        StackAlreadyRunningError: another process holds the lock; the message contains its PID.
    """
    with (home.run / "up.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StackAlreadyRunningError(
                f"`backburner up` is already running in {home.path} (pid {holder})."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)

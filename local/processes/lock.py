"""The lock that prevents two stacks from running in one folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from core import errors
from local.home import Home


class StackAlreadyRunningError(errors.Error):
    """Another stack is running in the folder."""


@contextlib.contextmanager
def lock_folder(home: Home) -> Iterator[None]:
    """Hold the lock of the folder; the kernel releases it even if this process is killed.

    Raises:
        StackAlreadyRunningError: another process holds the lock; the message contains its PID.
    """
    with (home.run / "up.lock").open("a+", encoding="utf-8") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock_file.seek(0)
            holder_pid = lock_file.read().strip() or "unknown"
            raise StackAlreadyRunningError(
                f"`backburner up` is already running in {home.path} (pid {holder_pid})."
            ) from None
        lock_file.truncate(0)
        lock_file.write(f"{os.getpid()}\n")
        lock_file.flush()
        yield
        lock_file.truncate(0)

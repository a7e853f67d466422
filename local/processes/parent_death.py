"""Stops a child process when its parent is killed, on Linux."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def parent_death_hook(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that makes the kernel send `stop_signal` to the child when this process dies.

    Return None on systems other than Linux, which lack this feature.

    `subprocess` changes the user of the child before it calls the function. This order matters, because the kernel
    clears the parent-death signal when the user changes.
    """
    if _LIBC is None:
        return None
    libc, parent_pid = _LIBC, os.getpid()

    def request_parent_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent_pid:  # the parent died before the kernel received the request
            os._exit(1)

    return request_parent_death_signal

"""The WSGI application of a server process. No other module may have module-level state."""

import math
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app import create_app
from core import log, settings
from core.bootstrap import open_core

_PARENT_GONE_S = 1.0
# How often to look for the listening socket: a connection accepted before it has its options is never dropped.
_LISTENS_AGAIN_S = 0.01
_STOPS = (signal.SIGTERM, signal.SIGINT)


def _leave_with(parent: int) -> None:
    """Exit soon after the supervisor has died: an orphaned process would continue to occupy the port."""
    gone = threading.Event()
    while not gone.wait(_PARENT_GONE_S):
        if os.getppid() != parent:
            os._exit(1)


def _leave_in_time(told: socket.socket) -> None:
    """End the streams of this process when it receives a stop signal, and the process when the drain time is over.

    From the signal on, the server refuses new connections, and it exits by itself after its last answer. Foreground
    responses that have not ended by then continue without their clients: a deploy cancels nothing.
    """
    while told.recv(1)[0] not in _STOPS:
        pass
    _core.broadcaster.drain()
    threading.Event().wait(_settings.drain_s)
    _core.waiting.release()
    os._exit(0)


def _told_to_stop() -> socket.socket:
    """A socket that receives the number of each signal. The signal handlers themselves belong to the server."""
    here, there = socket.socketpair()
    there.setblocking(False)
    signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
    return here


def _drop_stalled() -> None:
    """Make the kernel drop clients that stop reading, or that vanish without closing: each occupies a thread.

    A client may vanish while it sends, too. The server opens its socket after it has imported this module, and the
    connections it accepts inherit the options.
    """
    done = False
    while not done:
        time.sleep(_LISTENS_AGAIN_S)
        for entry in Path("/proc/self/fd").iterdir():
            done |= _limit_stalls(int(entry.name))


def _limit_stalls(descriptor: int) -> bool:
    """Set the options if this is the server's listening socket; returns whether it is."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as found:
            if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return False
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_settings.stall_s * 1000))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, math.ceil(_settings.stall_s))
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(_settings.stall_s / 3))
            return True
    except OSError:  # not a socket, or already closed
        return False


def _daemon(target: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, name=target.__name__, daemon=True).start()


_settings = settings.load()
log.configure(_settings.log_level)
_resources = ExitStack()
_core = _resources.enter_context(open_core(_settings, connections=_settings.api_connections))
app = create_app(_core)
_daemon(_leave_with, os.getppid())
_daemon(_leave_in_time, _told_to_stop())
if sys.platform == "linux":
    _daemon(_drop_stalled)

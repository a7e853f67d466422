"""The WSGI application of a server process. Granian imports this module, the only one with module-level state."""

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
from core.config import reload_signal

_PARENT_CHECK_INTERVAL_S = 1.0
# Short, because connections that are accepted before the listening socket has its options are never dropped.
_LISTENER_SEARCH_INTERVAL_S = 0.01
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _exit_with_parent(parent_pid: int) -> None:
    """Exit soon after the parent process has died: an orphaned process would continue to occupy the port."""
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_CHECK_INTERVAL_S)
    os._exit(1)


def _stop_on_signal(signal_socket: socket.socket) -> None:
    """Wait for a stop signal, then end the streams immediately, and the process after the drain time.

    After the signal, the server refuses new connections, and it exits by itself after its last answer. Foreground
    responses that are still running after the drain time continue without their clients: a deploy cancels nothing.
    """
    while signal_socket.recv(1)[0] not in _STOP_SIGNALS:
        pass
    _core.broadcaster.drain()
    time.sleep(_settings.drain_s)
    _core.wait_slots.release_responses()
    os._exit(0)


def _open_signal_socket() -> socket.socket:
    """Open a socket that receives the number of each signal, because the signal handlers belong to the server."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    return reader


def _limit_client_stalls() -> None:
    """Make the kernel drop clients that stop reading or become unreachable, because each one occupies a thread.

    This function waits for the listening socket, because the server opens it after the import of this module.
    Connections inherit the options of the listening socket.
    """
    is_configured = False
    while not is_configured:
        time.sleep(_LISTENER_SEARCH_INTERVAL_S)
        for entry in Path("/proc/self/fd").iterdir():
            is_configured |= _set_stall_options(int(entry.name))


def _set_stall_options(descriptor: int) -> bool:
    """Set the options if the descriptor is the server's listening socket; return whether it is."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return False
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_settings.stall_s * 1000))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, math.ceil(_settings.stall_s))
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(_settings.stall_s / 3))
            return True
    except OSError:  # not a socket, or already closed
        return False


def _start_daemon(target: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, name=target.__name__, daemon=True).start()


_settings = settings.load()
log.configure(_settings.log_level)
_resources = ExitStack()
_core = _resources.enter_context(open_core(_settings, connections=_settings.api_connections))
app = create_app(_core)
_start_daemon(_exit_with_parent, os.getppid())
_start_daemon(_stop_on_signal, _open_signal_socket())
reload_signal.start_receiver(_core.live_catalog.reload)
if sys.platform == "linux":
    _start_daemon(_limit_client_stalls)

"""The WSGI application of a server process; module state is allowed only here."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from app import create_app
from core import log, settings
from core.bootstrap import open_core

T = TypeVar("T")

_PARENT_GONE_S = 1.0
_STOPS = (signal.SIGTERM, signal.SIGINT)


def _leave_with(parent: int) -> None:
    """End this process soon after its supervisor is gone: an orphan would go on holding the port."""
    gone = threading.Event()
    while not gone.wait(_PARENT_GONE_S):
        if os.getppid() != parent:
            os._exit(1)


def _leave_in_time(told: socket.socket) -> None:
    """End this process once it was told to stop and had its time to answer what is under way.

    The server refuses new connections from then on and leaves by itself when the last answer is out. What must be
    left behind goes on without anybody who waits: a deploy cancels nothing.
    """
    while told.recv(1)[0] not in _STOPS:
        pass
    threading.Event().wait(_settings.drain_s)
    _core.waiting.let_go()
    os._exit(0)


def _daemon(target: Callable[[T], None], subject: T) -> None:
    threading.Thread(target=target, args=(subject,), name=target.__name__.strip("_"), daemon=True).start()


def _told_to_stop() -> socket.socket:
    """Where the number of each signal arrives; the handlers themselves are the server's."""
    here, there = socket.socketpair()
    there.setblocking(False)
    signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
    return here


_settings = settings.load()
log.configure(_settings.log_level)
_resources = ExitStack()
_core = _resources.enter_context(open_core(_settings, connections=_settings.api_connections))
app = create_app(_core)
_daemon(_leave_with, os.getppid())
_daemon(_leave_in_time, _told_to_stop())

"""The WSGI application of a server process; module state is allowed only here."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack

from app import create_app
from core import log, settings
from core.bootstrap import open_core

_PARENT_GONE_S = 1.0


def _leave_with(parent: int) -> None:
    """End this process soon after its supervisor is gone: an orphan would go on holding the port."""
    gone = threading.Event()
    while not gone.wait(_PARENT_GONE_S):
        if os.getppid() != parent:
            os._exit(1)


def _daemon(target: Callable[[int], None], parent: int) -> None:
    threading.Thread(target=target, args=(parent,), name="parent-watch", daemon=True).start()


_settings = settings.load()
log.configure(_settings.log_level)
_resources = ExitStack()
app = create_app(_resources.enter_context(open_core(_settings, connections=_settings.api_connections)))
_daemon(_leave_with, os.getppid())

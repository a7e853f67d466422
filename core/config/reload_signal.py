"""SIGHUP, with which operators request that a process reads its configuration file again.

The signal is blocked in every thread and received by one thread that waits for it. Therefore no handler interrupts
other code, handlers that libraries install have no effect, and the signal does not end a child process that is still
starting.
"""

import logging
import signal
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_SIGNALS = frozenset({signal.SIGHUP})


def block() -> None:
    """Keep SIGHUP pending instead of ending the process; threads and processes started later inherit this.

    Call this function before any thread starts.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def start_receiver(handle: Callable[[], object]) -> None:
    """Call a function in a background thread after SIGHUP, until the process ends; the signal must be blocked.

    All signals that arrive during a call result in one further call.
    """
    threading.Thread(target=_receive, args=(handle,), name="reload", daemon=True).start()


def _receive(handle: Callable[[], object]) -> None:
    while True:
        signal.sigwait(_SIGNALS)
        try:
            handle()
        except Exception:  # a bug; the next signal must still have an effect
            log.exception("cannot handle SIGHUP")

"""Parts of Backburner forked from a process that has imported them: an import costs a second of processor time."""

import atexit
import ctypes
import functools
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from local import cli, environment
from local.child import Child

ROOT = Path(__file__).resolve().parents[2]
# What parts import at their start and later. Not `app.wsgi`, which opens a deployment when it is imported.
MODULES = (
    "app.serve",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.worker.consumer",
    "core.sweeper",
    "kombu.transport.redis",
    "worker.main",
    "worker.redis_transport",
)
_REQUEST_BYTES = 1024 * 1024
_NUMBER = struct.Struct("q")
_PR_SET_PDEATHSIG = 1


class Process:
    """A forked process, with the methods that `Child` uses of `subprocess.Popen`.

    Args:
        status: a pipe from which the process ID is read first and, when it has ended, the status that `wait` gave.
    """

    def __init__(self, status: int) -> None:
        self._status = status
        self._ended: int | None = None
        self.pid = self._read()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self._ended is None and select.select([self._status], [], [], 0)[0]:
            self._ended = os.waitstatus_to_exitcode(self._read())
            os.close(self._status)
        return self._ended

    def wait(self) -> None:
        if self._ended is None:
            select.select([self._status], [], [])
            self.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _read(self) -> int:
        data = os.read(self._status, _NUMBER.size)
        if not data:
            raise RuntimeError("The fork server ended.")
        number: int = _NUMBER.unpack(data)[0]
        return number


class ForkedChild(Child):
    """A part that runs `python -m local.cli WORDS`, without a new interpreter.

    As one of `Child`, it has a session, an environment and a log of its own, parses its command line, and ends with
    the process that started it. A variable that an interpreter or the loader reads at its start has no effect.
    """

    def _spawn(self, log: BinaryIO) -> Process:
        interpreter, option, module, *words = self.part.argv
        assert (interpreter, option, module) == (sys.executable, "-m", cli.__name__)
        request = {
            "words": words,
            "env": self._environment(),
            "folder": str(self.part.cwd),
            "stop_signal": int(self.part.stop_signal),
        }
        here, there = os.pipe()
        socket.send_fds(_server(), [json.dumps(request).encode()], [there, log.fileno()])
        os.close(there)
        return Process(here)


@functools.cache
def _server() -> socket.socket:
    """The connection to the fork server of this process, which ends with it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forked"],
            cwd=ROOT,
            env=environment.inherited() | {"PYTHONUNBUFFERED": "1"},
            stdin=there,
            start_new_session=True,
        )

    def close() -> None:
        here.close()
        server.wait()

    atexit.register(close)
    return here


def main() -> None:
    """Serve; in a fork, run the program, which ends as that of a new interpreter does."""
    for module in MODULES:
        importlib.import_module(module)
    assert threading.active_count() == 1
    request = serve(socket.socket(fileno=os.dup(0)))
    if request is not None:
        become(**request)
        cli.main(prog_name=f"python -m {cli.__name__}")


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a process for every request until the tests end; the request in a fork, None in the server."""
    running: dict[int, int] = {}
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with requests, woken, waker:
        while True:
            ready, _, _ = select.select([requests, woken], [], [])
            if woken in ready:
                woken.recv(1024)
                _report_ended(running)
            if requests in ready:
                data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 2)
                if not data:
                    return None
                status, log = descriptors
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    os.write(status, _NUMBER.pack(os.getpid()))  # so that its group is known to exist
                    _redirect(log)
                    for descriptor in (status, *running.values()):
                        os.close(descriptor)
                    signal.set_wakeup_fd(-1)
                    return dict(json.loads(data))
                os.close(log)
                running[pid] = status


def _report_ended(running: dict[int, int]) -> None:
    """Wait for the forks that have ended, and write the status of each to its pipe."""
    for pid, pipe in list(running.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            os.write(running.pop(pid), _NUMBER.pack(status))
            os.close(pipe)


def _redirect(log: int) -> None:
    """Have nothing to read, and write both outputs to the log."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, name in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, name)
    os.close(nothing)
    os.close(log)


def become(words: list[str], env: dict[str, str], folder: str, stop_signal: int) -> None:
    """Take what a new process is given by the one that starts it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _stop_with_parent(stop_signal)
    os.chdir(folder)
    os.environ.clear()  # noqa: TID251
    os.environ.update(env)  # noqa: TID251
    sys.argv = [cli.__file__, *words]


def _stop_with_parent(stop_signal: int) -> None:
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()

"""Backburner processes forked from a process that has already imported them: an import costs 1 s of processor time."""

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
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cli import main as cli
from local.processes import environment
from local.processes.child import Child

ROOT = Path(__file__).resolve().parents[2]
# Modules that processes and commands import at startup or later. Not `app.wsgi`, which opens a deployment when
# imported.
MODULES = (
    "cli.prompts",
    "app.serve",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.worker.consumer",
    "cli.sweeper",
    "kombu.transport.redis",
    "local.doctor",
    "worker.main",
    "worker.consumer.transport",
)
_REQUEST_BYTES = 1024 * 1024
_NUMBER = struct.Struct("q")
_PR_SET_PDEATHSIG = 1


class Process:
    """A forked process with the methods of `subprocess.Popen` that `Child` uses.

    Args:
        status: pipe that delivers the process ID and, after the process has ended, its status as returned by `wait`.
    """

    def __init__(self, status: int) -> None:
        self._status = status
        self._ended: int | None = None
        self.pid = self._read()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self._ended is None and select.select([self._status], [], [], 0)[0]:
            self._ended = os.waitstatus_to_exitcode(self._read())
            os.close(self._status)
        return self._ended

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit status; None if the process has not ended within `timeout` seconds."""
        if self._ended is None:
            select.select([self._status], [], [], timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _read(self) -> int:
        data = os.read(self._status, _NUMBER.size)
        if not data:
            raise RuntimeError("The fork server ended.")
        number: int = _NUMBER.unpack(data)[0]
        return number


class ForkedChild(Child):
    """A process that runs `python -m cli.main WORDS` without starting a new interpreter.

    Like a `Child`, it has its own session, environment and log, parses its command line, and ends with the process that
    started it. Variables that the interpreter or the loader reads at startup have no effect.
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
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a device, not a file
            return _start(request, nothing, log, log)


def run(
    words: Sequence[str], env: Mapping[str, str], *, said: str = "", within_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `python -m cli.main WORDS` without a new interpreter; return what `subprocess.run` returns.

    Args:
        env: the complete environment of the command.
        said: its standard input.
    """
    request = {"words": list(words), "env": dict(env), "folder": str(ROOT), "stop_signal": int(signal.SIGTERM)}
    with tempfile.TemporaryFile() as read, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        read.write(said.encode())
        read.seek(0)
        process = _start(request, read, out, err)
        if process.wait(within_s) is None:
            os.killpg(process.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), within_s)
        for output in (out, err):
            output.seek(0)
        return subprocess.CompletedProcess(list(words), process.poll(), out.read().decode(), err.read().decode())


def _start(request: dict[str, Any], stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> Process:
    here, there = os.pipe()
    descriptors = [there, stdin.fileno(), stdout.fileno(), stderr.fileno()]
    socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)
    os.close(there)
    return Process(here)


@functools.cache
def _server() -> socket.socket:
    """Start the fork server, which ends with this process; return the connection to it."""
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
    """Serve requests; in a fork, run the program, which ends as in a new interpreter."""
    for module in MODULES:
        importlib.import_module(module)
    assert threading.active_count() == 1
    request = serve(socket.socket(fileno=os.dup(0)))
    if request is not None:
        become(**request)
        cli.main(prog_name=f"python -m {cli.__name__}")


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request until the tests end.

    Returns:
        The request in a fork; None in the server.
    """
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
                data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 4)
                if not data:
                    return None
                status, *streams = descriptors
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    os.write(status, _NUMBER.pack(os.getpid()))  # tells the parent that the process group exists
                    _redirect(streams)
                    for descriptor in (status, *running.values()):
                        os.close(descriptor)
                    signal.set_wakeup_fd(-1)
                    return dict(json.loads(data))
                for descriptor in streams:
                    os.close(descriptor)
                running[pid] = status


def _report_ended(running: dict[int, int]) -> None:
    """Reap the forks that have ended and write the status of each to its pipe."""
    for pid, pipe in list(running.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            os.write(running.pop(pid), _NUMBER.pack(status))
            os.close(pipe)


def _redirect(streams: Sequence[int]) -> None:
    """Make these descriptors standard input, output and error."""
    for name, descriptor in enumerate(streams):
        os.dup2(descriptor, name)
        os.close(descriptor)


def become(words: list[str], env: dict[str, str], folder: str, stop_signal: int) -> None:
    """Set up what a new process inherits from its parent: signals, folder, environment and arguments."""
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

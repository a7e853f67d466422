"""Runs `backburner` commands in processes that are forked after all imports, which take 1 s of processor time."""

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
# Modules to import before the fork: those that commands import, except `app.wsgi`, whose import connects to servers.
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
_MAX_REQUEST_BYTES = 1024 * 1024
_INT64 = struct.Struct("q")  # a process ID or a status
_PR_SET_PDEATHSIG = 1


class Process:
    """A forked process, with the methods of `subprocess.Popen` that `Child` uses.

    Args:
        status_pipe: pipe that contains the process ID and, after the process has ended, its status as `waitpid` returns
            it.
    """

    def __init__(self, status_pipe: int) -> None:
        self._status_pipe = status_pipe
        self._exit_status: int | None = None
        self.pid = self._read_number()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self._exit_status is None and select.select([self._status_pipe], [], [], 0)[0]:
            self._exit_status = os.waitstatus_to_exitcode(self._read_number())
            os.close(self._status_pipe)
        return self._exit_status

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the process; return its exit status, or None after `timeout` seconds."""
        if self._exit_status is None:
            select.select([self._status_pipe], [], [], timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _read_number(self) -> int:
        data = os.read(self._status_pipe, _INT64.size)
        if not data:
            raise RuntimeError("The fork server ended.")
        number: int
        (number,) = _INT64.unpack(data)
        return number


class ForkedChild(Child):
    """A process that runs `python -m cli.main ARGUMENTS` without starting a new interpreter.

    Like a `Child`, the process has its own session, environment and log, parses its command line, and stops if the
    process that started it ends. Environment variables that are read at the start of an interpreter have no effect.
    """

    def _spawn_process(self, log: BinaryIO) -> Process:
        interpreter, option, module, *arguments = self.part.argv
        assert (interpreter, option, module) == (sys.executable, "-m", cli.__name__)
        request = {
            "arguments": arguments,
            "env": self._environment(),
            "folder": str(self.part.cwd),
            "stop_signal": int(self.part.stop_signal),
        }
        with open(os.devnull, "rb") as empty_input:  # noqa: PTH123  a device, not a file
            return _fork_process(request, empty_input, log, log)


def run_command(
    arguments: Sequence[str], env: Mapping[str, str], *, stdin_text: str = "", timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `python -m cli.main ARGUMENTS` without a new interpreter; return the result as `subprocess.run` does.

    Args:
        env: the complete environment of the command.
        stdin_text: the standard input of the command.
    """
    request = {
        "arguments": list(arguments),
        "env": dict(env),
        "folder": str(ROOT),
        "stop_signal": int(signal.SIGTERM),
    }
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(stdin_text.encode())
        stdin.seek(0)
        process = _fork_process(request, stdin, stdout, stderr)
        if process.wait(timeout_s) is None:
            os.killpg(process.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        for output in (stdout, stderr):
            output.seek(0)
        return subprocess.CompletedProcess(
            list(arguments), process.poll(), stdout.read().decode(), stderr.read().decode()
        )


def _fork_process(request: dict[str, Any], stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> Process:
    read_end, write_end = os.pipe()
    descriptors = [write_end, stdin.fileno(), stdout.fileno(), stderr.fileno()]
    socket.send_fds(_connect_to_server(), [json.dumps(request).encode()], descriptors)
    os.close(write_end)
    return Process(read_end)


@functools.cache
def _connect_to_server() -> socket.socket:
    """Return the connection to the fork server; the first call starts the server, which ends with this process."""
    connection, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with server_end:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.forked"],
            cwd=ROOT,
            env=environment.process_variables() | {"PYTHONUNBUFFERED": "1"},
            stdin=server_end,
            start_new_session=True,
        )

    def close() -> None:
        connection.close()
        server.wait()

    atexit.register(close)
    return connection


def main() -> None:
    """Serve requests in this process; in each forked process, run the requested command as a new interpreter would."""
    for module in MODULES:
        importlib.import_module(module)
    assert threading.active_count() == 1
    request = serve(socket.socket(fileno=os.dup(0)))
    if request is not None:
        prepare_process(**request)
        cli.main(prog_name=f"python -m {cli.__name__}")


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request, until the tests close the connection.

    Returns:
        In a forked process, the request for it; in the server, None.
    """
    status_pipes: dict[int, int] = {}  # the pipe of each running process, by process ID
    wakeup, signal_input = socket.socketpair()
    signal_input.setblocking(False)
    signal.set_wakeup_fd(signal_input.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with requests, wakeup, signal_input:
        while True:
            ready, _, _ = select.select([requests, wakeup], [], [])
            if wakeup in ready:
                wakeup.recv(1024)
                _report_exits(status_pipes)
            if requests in ready:
                data, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 4)
                if not data:
                    return None
                status_pipe, *streams = descriptors
                pid = os.fork()
                if pid == 0:
                    os.setsid()
                    os.write(status_pipe, _INT64.pack(os.getpid()))  # the client may now signal the process group
                    _replace_standard_streams(streams)
                    for descriptor in (status_pipe, *status_pipes.values()):
                        os.close(descriptor)
                    signal.set_wakeup_fd(-1)
                    return dict(json.loads(data))
                for descriptor in streams:
                    os.close(descriptor)
                status_pipes[pid] = status_pipe


def _report_exits(status_pipes: dict[int, int]) -> None:
    """Reap the processes that have ended, and write the status of each to its pipe."""
    for pid, pipe in list(status_pipes.items()):
        reaped_pid, status = os.waitpid(pid, os.WNOHANG)
        if reaped_pid:
            os.write(status_pipes.pop(pid), _INT64.pack(status))
            os.close(pipe)


def _replace_standard_streams(streams: Sequence[int]) -> None:
    """Make these descriptors standard input, output and error."""
    for standard_descriptor, descriptor in enumerate(streams):
        os.dup2(descriptor, standard_descriptor)
        os.close(descriptor)


def prepare_process(arguments: list[str], env: dict[str, str], folder: str, stop_signal: int) -> None:
    """Set up the signals, folder, environment and arguments as they would be in a new process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _stop_with_parent(stop_signal)
    os.chdir(folder)
    os.environ.clear()  # noqa: TID251
    os.environ.update(env)  # noqa: TID251
    sys.argv = [cli.__file__, *arguments]


def _stop_with_parent(stop_signal: int) -> None:
    """Register `stop_signal` for the end of the parent process; exit if the parent has already ended."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()

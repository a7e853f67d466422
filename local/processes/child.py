"""Starts, checks and stops one part of a stack as a child process."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core import errors
from local.home import Home, write_atomically
from local.processes import environment

LOG_LIMIT_BYTES = 10 * 1024 * 1024
TAIL_LINES = 12
HURRIED_GRACE_S = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class PartFailed(errors.Error):
    """A part did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Part:
    """A program to keep running.

    Args:
        name: base name of its PID file and log.
        env: variables added to our own environment.
        cwd: working directory.
        ready: called with the PID; returns whether the part does its work. Must return within a second or two.
        user: name of the system user it runs as; None for our own user.
        stage: parts are stopped in descending order of stage, those of one stage together.
        grace_s: seconds between the stop signal and SIGKILL.
        health: URL of its health endpoint; written to a file beside the PID file.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[int], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    user: str | None = None
    stage: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10
    ready_within_s: float = 60
    health: str | None = None


class Child:
    """A running part: in its own session, with stdout and stderr in its log and its PID in its PID file."""

    def __init__(self, part: Part, home: Home) -> None:
        self.part = part
        self._log = home.log_file(part.name)
        self._pid_file = home.pid_file(part.name)
        self._health_file = home.health_file(part.name)
        _put_aside_if_large(self._log)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = self._spawn(log)
        self.started_at = time.monotonic()
        self._how: str | None = None
        write_atomically(self._pid_file, f"{self.pid}\n")
        if part.health:
            write_atomically(self._health_file, f"{part.health}\n")

    def _spawn(self, log: BinaryIO) -> "subprocess.Popen[bytes]":
        """Start the program with stdout and stderr redirected to the file."""
        part = self.part
        return subprocess.Popen(
            list(part.argv),
            env=self._environment(),
            cwd=part.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=part.user,
            group=part.user,
            extra_groups=None if part.user is None else [],
            preexec_fn=_dies_with_us(part.stop_signal),  # noqa: PLW1509  this process is single-threaded
        )

    def _environment(self) -> dict[str, str]:
        return {**environment.inherited(), "PYTHONUNBUFFERED": "1", **self.part.env}

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str | None:
        """How the process ended, in words; None while it runs. Kills its remaining children once it has ended."""
        if self._how is None and (status := self._process.poll()) is not None:
            self._kill_group()
            self._pid_file.unlink(missing_ok=True)
            self._health_file.unlink(missing_ok=True)
            self._how = f"status {status}" if status >= 0 else _signal_name(-status)
        return self._how

    def wait_until_ready(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the part is ready, calling `meanwhile` repeatedly.

        Raises:
            PartFailed: the part ended, or was not ready in time; in the latter case it is still running.
        """
        deadline = time.monotonic() + self.part.ready_within_s
        while not self.part.ready(self.pid):
            if (how := self.ended()) is not None:
                raise PartFailed(f"{self.part.name} ended during startup ({how}).{self._tail()}")
            if time.monotonic() > deadline:
                within_s = self.part.ready_within_s
                raise PartFailed(f"{self.part.name} was not ready within {within_s:.0f} s.{self._tail()}")
            meanwhile()
            time.sleep(0.05)

    def wait_until_done(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the program has ended, calling `meanwhile` repeatedly.

        Raises:
            PartFailed: the program ended with a status other than 0.
        """
        while (how := self.ended()) is None:
            meanwhile()
            time.sleep(0.05)
        if how != "status 0":
            raise PartFailed(f"{self.part.name} failed ({how}).{self._tail()}")

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self.part.stop_signal)

    def wait_until_stopped(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Wait until the process has ended; send SIGKILL after `grace_s`, or after 1 s once `hurry` is true."""
        asked_at = time.monotonic()
        while self.ended() is None:
            grace_s = min(self.part.grace_s, HURRIED_GRACE_S) if hurry() else self.part.grace_s
            if time.monotonic() - asked_at > grace_s:
                self._kill_group()
                self._process.wait()
            time.sleep(0.02)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read()[-20_000:].decode(errors="replace").splitlines()[-TAIL_LINES:]
        return "".join([f" Last lines of {self._log}:", *(f"\n  {line}" for line in lines)]) if lines else ""


@contextlib.contextmanager
def running(part: Part, home: Home) -> Iterator[Child]:
    """Start the part, wait until it is ready, and stop it on exit."""
    child = Child(part, home)
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.ask_to_stop()
        child.wait_until_stopped()


def _dies_with_us(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Build the function that the child calls before exec to be stopped by the kernel if we are killed (Linux only).

    `subprocess` changes the user before it calls the function. The opposite order would not work, because the kernel
    clears the parent-death signal when the user changes.
    """
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def _put_aside_if_large(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _signal_name(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"

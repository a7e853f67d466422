"""One part of the stack as a child process: started, asked whether it is ready, stopped."""

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
    """A part did not come up; the text ends with the tail of its log."""


@dataclass(frozen=True)
class Part:
    """A program to keep running.

    Args:
        name: of its pid file and log.
        env: what it sees besides our own environment.
        cwd: the folder it runs in.
        ready: given its pid, whether it does its work; must answer within a second or two.
        user: name of the system user it runs as; None is ours.
        stage: parts are stopped by falling stage, those of one stage together.
        grace_s: between the stop signal and SIGKILL.
        health: where it answers how it does; kept in a file beside its pid file.
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
    """A running part: in a session of its own, both outputs in its log, its pid in its pid file."""

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
        """Start the program, with both outputs in the file."""
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
            preexec_fn=_dies_with_us(part.stop_signal),  # noqa: PLW1509  we are single-threaded
        )

    def _environment(self) -> dict[str, str]:
        return {**environment.inherited(), "PYTHONUNBUFFERED": "1", **self.part.env}

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str | None:
        """How it ended, in words; None while it runs. What it leaves of its own children is killed."""
        if self._how is None and (status := self._process.poll()) is not None:
            self._kill_group()
            self._pid_file.unlink(missing_ok=True)
            self._health_file.unlink(missing_ok=True)
            self._how = f"status {status}" if status >= 0 else _signal_name(-status)
        return self._how

    def wait_until_ready(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Return when the part is ready; `meanwhile` is called all the time.

        Raises:
            PartFailed: it ended, or was not ready in time; it may still run.
        """
        deadline = time.monotonic() + self.part.ready_within_s
        while not self.part.ready(self.pid):
            if (how := self.ended()) is not None:
                raise PartFailed(f"{self.part.name} ended at start ({how}).{self._tail()}")
            if time.monotonic() > deadline:
                within_s = self.part.ready_within_s
                raise PartFailed(f"{self.part.name} was not ready within {within_s:.0f} s.{self._tail()}")
            meanwhile()
            time.sleep(0.05)

    def wait_until_done(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Return when the program has done its work and ended; `meanwhile` is called all the time.

        Raises:
            PartFailed: it ended with another status than 0.
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
        """Return when it has ended; SIGKILL after its grace time, of which `hurry` leaves a second."""
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
        return "".join([f" The end of {self._log}:", *(f"\n  {line}" for line in lines)]) if lines else ""


@contextlib.contextmanager
def running(part: Part, home: Home) -> Iterator[Child]:
    """Start the part, wait until it is ready, stop it at the end."""
    child = Child(part, home)
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.ask_to_stop()
        child.wait_until_stopped()


def _dies_with_us(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child runs before exec so that the kernel stops it when we are killed (Linux only).

    subprocess changes the user first; the other way round the kernel would forget the request.
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

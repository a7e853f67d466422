"""Starts, checks and stops one part of a stack as a child process."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core import errors
from local.home import Home, write_atomically
from local.processes import environment
from local.processes.parent_death import parent_death_hook

LOG_LIMIT_BYTES = 10 * 1024 * 1024
# Maximum size of the end of a log in an error message.
LOG_TAIL_LINES = 12
LOG_TAIL_BYTES = 20_000
SHORT_GRACE_S = 1.0
POLL_INTERVAL_S = 0.05


class PartFailure(errors.Error):
    """A part did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Part:
    """A program that runs as a child process in a local stack.

    Args:
        name: base name of its PID file and log.
        env: variables for the program, in addition to the environment variables of this process.
        cwd: working directory.
        ready: called with the PID; returns, within two seconds at most, whether the part is ready.
        user: name of the system user that runs the program; None for the user of this process.
        stage: parts are stopped in descending order of stage; parts of one stage are stopped simultaneously.
        grace_s: seconds between the stop signal and SIGKILL.
        health_url: URL of the health endpoint, which is written to a file beside the PID file.
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
    ready_timeout_s: float = 60
    health_url: str | None = None


class Child:
    """A running part in its own session, with its output in its log file and its process ID in its PID file."""

    def __init__(self, part: Part, home: Home) -> None:
        self.part = part
        self._log_file = home.log_file(part.name)
        self._pid_file = home.pid_file(part.name)
        self._health_file = home.health_file(part.name)
        _rotate_log_if_large(self._log_file)
        with self._log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = self._spawn_process(log)
        self.started_at = time.monotonic()
        self._exit_reason: str | None = None
        write_atomically(self._pid_file, f"{self.pid}\n")
        if part.health_url:
            write_atomically(self._health_file, f"{part.health_url}\n")

    def _spawn_process(self, log: BinaryIO) -> "subprocess.Popen[bytes]":
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
            preexec_fn=parent_death_hook(part.stop_signal),  # noqa: PLW1509  this process is single-threaded
        )

    def _environment(self) -> dict[str, str]:
        return {**environment.process_variables(), "PYTHONUNBUFFERED": "1", **self.part.env}

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str | None:
        """Return how the process ended, or None while it runs. After its end, kill its remaining children."""
        if self._exit_reason is None and (status := self._process.poll()) is not None:
            self.kill_process_group()
            self._pid_file.unlink(missing_ok=True)
            self._health_file.unlink(missing_ok=True)
            self._exit_reason = f"status {status}" if status >= 0 else _describe_signal(-status)
        return self._exit_reason

    def wait_until_ready(self, *, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until the part is ready, calling `on_wait` repeatedly.

        Raises:
            PartFailure: the part ended, or was not ready before its timeout; in the latter case it still runs.
        """
        deadline = time.monotonic() + self.part.ready_timeout_s
        while not self.part.ready(self.pid):
            if (exit_reason := self.ended()) is not None:
                raise PartFailure(f"{self.part.name} ended during startup ({exit_reason}).{self._log_tail()}")
            if time.monotonic() > deadline:
                timeout_s = self.part.ready_timeout_s
                raise PartFailure(f"{self.part.name} was not ready within {timeout_s:.0f} s.{self._log_tail()}")
            on_wait()
            time.sleep(POLL_INTERVAL_S)

    def wait_for_success(self, *, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until the program has ended, calling `on_wait` repeatedly.

        Raises:
            PartFailure: the program ended with a status other than 0.
        """
        while (exit_reason := self.ended()) is None:
            on_wait()
            time.sleep(POLL_INTERVAL_S)
        if exit_reason != "status 0":
            raise PartFailure(f"{self.part.name} failed ({exit_reason}).{self._log_tail()}")

    def send_stop_signal(self) -> None:
        """Send the stop signal to the process, unless it has already ended."""
        if self._process.poll() is None:
            self._process.send_signal(self.part.stop_signal)

    def wait_until_stopped(self, *, should_hurry: Callable[[], bool] = lambda: False) -> None:
        """Wait for the end of the process; kill it after its grace period, or at most 1 s if `should_hurry` is true."""
        stop_sent_at = time.monotonic()
        while self.ended() is None:
            grace_s = min(self.part.grace_s, SHORT_GRACE_S) if should_hurry() else self.part.grace_s
            if time.monotonic() - stop_sent_at > grace_s:
                self.kill_process_group()
                self._process.wait()
            time.sleep(0.02)

    def kill_process_group(self) -> None:
        """Send SIGKILL to the process and its descendants; do nothing if they have ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _log_tail(self) -> str:
        """Return the last lines that the program wrote, as the end of an error message; empty if it wrote nothing."""
        with self._log_file.open("rb") as log:
            log.seek(self._log_start)
            log_end = log.read()[-LOG_TAIL_BYTES:].decode(errors="replace")
        lines = log_end.splitlines()[-LOG_TAIL_LINES:]
        if not lines:
            return ""
        return f" Last lines of {self._log_file}:" + "".join(f"\n  {line}" for line in lines)


@contextlib.contextmanager
def running(part: Part, home: Home) -> Iterator[Child]:
    """Start the part, wait until it is ready, run the block, and stop the part."""
    child = Child(part, home)
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.send_stop_signal()
        child.wait_until_stopped()


def _rotate_log_if_large(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))


def _describe_signal(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"

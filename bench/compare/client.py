"""Starts sessions, which are benchmark processes of worktrees, and sends requests to them."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from bench.compare.protocol import PROTOCOL, Greeting, Measurement
from bench.compare.trees import Tree

T = TypeVar("T")

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60
_TAIL_LINES = 15
_GREETING = TypeAdapter(Greeting)
_MEASUREMENT = TypeAdapter(Measurement)


class SessionError(Exception):
    """A session exited, timed out or violated the protocol; the message contains the last lines of its log."""


class Session:
    """The benchmark process of a worktree, with its servers as children.

    Args:
        size: name of the sizes of the measurements.
        log: file for the standard error of the process.

    Raises:
        SessionError: the session did not start.
    """

    def __init__(self, tree: Tree, size: str, log: Path) -> None:
        self.tree = tree
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [tree.python, "-m", "bench.compare.session", "--sizes", size],
                cwd=tree.folder,
                env=tree.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C must reach only `make compare`, which then ends the sessions
            )
        try:
            self.greeting = self._read_greeting()
        except SessionError:
            self.close()
            raise

    def _read_greeting(self) -> Greeting:
        greeting = self._read_line(_GREETING, _START_TIMEOUT_S)
        if greeting.protocol != PROTOCOL:
            raise SessionError(f"The session of {self.tree.name} uses protocol {greeting.protocol}, not {PROTOCOL}.")
        return greeting

    def measure(self, name: str, timeout_s: float) -> Measurement:
        """Run one repetition of a measure.

        Raises:
            SessionError: the session exited, or did not respond within `timeout_s` and was killed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the session has exited; `_read_line` reports it
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
        return self._read_line(_MEASUREMENT, timeout_s)

    def close(self) -> None:
        """End the session and wait until its servers have stopped."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _read_line(self, adapter: TypeAdapter[T], timeout_s: float) -> T:
        """Read the next line of the session, which is killed after `timeout_s`."""
        assert self._process.stdout is not None
        timer = threading.Timer(timeout_s, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise SessionError(
                f"The session of {self.tree.name} exited or did not respond within {timeout_s:.0f} s.{self._log_tail()}"
            )
        try:
            return adapter.validate_json(line)
        except ValidationError as error:
            raise SessionError(f"The session of {self.tree.name} sent {line[:200]!r}: {error}") from error

    def _log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join([f" Last lines of {self._log}:", *(f"\n  {line}" for line in lines)])


@contextlib.contextmanager
def open_sessions(trees: Mapping[str, Tree], size: str, logs: Path) -> Iterator[dict[str, Session]]:
    """Yield a session for each tree, by name. Sessions start one after another, because each chooses free ports."""
    with contextlib.ExitStack() as contexts:
        yield {
            name: contexts.enter_context(contextlib.closing(Session(tree, size, logs / f"{name}.log")))
            for name, tree in trees.items()
        }

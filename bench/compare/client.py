"""The driver's side of a session."""

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

_START_S = 120
_STOP_S = 60
_TAIL_LINES = 15
_GREETING = TypeAdapter(Greeting)
_MEASUREMENT = TypeAdapter(Measurement)


class SessionFailed(Exception):
    """A session exited, timed out or violated the protocol; the message contains the last lines of its log."""


class Session:
    """The benchmark process of a tree, with its servers as children.

    Args:
        size: name of the sizes to measure with.
        log: file for its standard error.

    Raises:
        SessionFailed: the session did not start.
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
                start_new_session=True,  # so that Ctrl-C reaches only the driver, which then ends the sessions
            )
        try:
            self.greeting = self._greeted()
        except SessionFailed:
            self.close()
            raise

    def _greeted(self) -> Greeting:
        greeting = self._read(_GREETING, _START_S)
        if greeting.protocol != PROTOCOL:
            raise SessionFailed(f"The session of {self.tree.name} uses protocol {greeting.protocol}, not {PROTOCOL}.")
        return greeting

    def measure(self, name: str, within_s: float) -> Measurement:
        """Run one repetition of a measure.

        Raises:
            SessionFailed: the session did not answer within `within_s` and was killed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the session has exited, which `_read` reports
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
        return self._read(_MEASUREMENT, within_s)

    def close(self) -> None:
        """End the session and wait until its servers have stopped."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _read(self, kind: TypeAdapter[T], within_s: float) -> T:
        """Read the next line; a session that sends none within `within_s` is killed, which ends the blocking read."""
        assert self._process.stdout is not None
        timer = threading.Timer(within_s, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise SessionFailed(
                f"The session of {self.tree.name} exited or did not answer within {within_s:.0f} s.{self._tail()}"
            )
        try:
            return kind.validate_json(line)
        except ValidationError as error:
            raise SessionFailed(f"The session of {self.tree.name} sent {line[:200]!r}: {error}") from error

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join([f" Last lines of {self._log}:", *(f"\n  {line}" for line in lines)])


@contextlib.contextmanager
def sessions(trees: Mapping[str, Tree], size: str, logs: Path) -> Iterator[dict[str, Session]]:
    """Yield a session for each tree, by name. They start sequentially, because they choose free ports."""
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(contextlib.closing(Session(tree, size, logs / f"{name}.log")))
            for name, tree in trees.items()
        }

"""The driver's end of a session."""

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
    """A session ended, took too long, or sent something else than was agreed; the text has the end of its log."""


class Session:
    """A tree's benchmark as a process, with its servers as children.

    Args:
        size: name of the sizes it measures with.
        log: where its standard error goes.

    Raises:
        SessionFailed: it did not start.
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
                start_new_session=True,  # Ctrl-C reaches the driver, which then ends the sessions
            )
        try:
            self.greeting = self._greeted()
        except SessionFailed:
            self.close()
            raise

    def _greeted(self) -> Greeting:
        greeting = self._read(_GREETING, _START_S)
        if greeting.protocol != PROTOCOL:
            raise SessionFailed(f"The session of {self.tree.name} speaks protocol {greeting.protocol}, not {PROTOCOL}.")
        return greeting

    def measure(self, name: str, within_s: float) -> Measurement:
        """One repetition of a measure.

        Raises:
            SessionFailed: it did not answer in time; it was ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it ended, which the missing answer reports
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
        return self._read(_MEASUREMENT, within_s)

    def close(self) -> None:
        """End the session, and wait until its servers have stopped."""
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
        """The next line; a session that does not send one in time is killed, which ends the wait."""
        assert self._process.stdout is not None
        timer = threading.Timer(within_s, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise SessionFailed(
                f"The session of {self.tree.name} ended, or did not answer within {within_s:.0f} s.{self._tail()}"
            )
        try:
            return kind.validate_json(line)
        except ValidationError as error:
            raise SessionFailed(f"The session of {self.tree.name} sent {line[:200]!r}: {error}") from error

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join([f" The end of {self._log}:", *(f"\n  {line}" for line in lines)])


@contextlib.contextmanager
def sessions(trees: Mapping[str, Tree], size: str, logs: Path) -> Iterator[dict[str, Session]]:
    """A session for each tree, by its name. One starts after the other: they choose free ports."""
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(contextlib.closing(Session(tree, size, logs / f"{name}.log")))
            for name, tree in trees.items()
        }

"""Defers Ctrl-C and SIGTERM to points at which the stack can be stopped cleanly."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupted(Exception):
    """A stop signal arrived."""


class Interrupts:
    """Context manager that counts SIGINT, SIGTERM and the terminal's SIGHUP instead of ending the process."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self._count:
            raise Interrupted

    def hurry(self) -> bool:
        """Whether a second signal has arrived, which requests a stop without waiting."""
        return self._count > 1

    def __enter__(self) -> Self:
        counted = {signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup
            counted.add(signal.SIGHUP)
        for number in counted:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # a value that signal.signal() returned

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

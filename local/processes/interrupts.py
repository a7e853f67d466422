"""Ctrl-C and SIGTERM, noticed only where the stack can be stopped cleanly."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupted(Exception):
    """Somebody asked us to stop."""


class Interrupts:
    """While entered, SIGINT, SIGTERM and the terminal's SIGHUP are counted instead of ending the process."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self._count:
            raise Interrupted

    def hurry(self) -> bool:
        """Whether a second signal came: somebody does not want to wait."""
        return self._count > 1

    def __enter__(self) -> Self:
        counted = {signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            counted.add(signal.SIGHUP)
        for number in counted:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal() returned

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

"""Defers Ctrl-C and SIGTERM to points at which the stack can be stopped cleanly."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interruption(Exception):
    """A stop signal arrived."""


class Interrupts:
    """Context manager that counts SIGINT, SIGTERM and the terminal's SIGHUP instead of ending the process."""

    def __init__(self) -> None:
        self._count = 0
        self._previous_handlers: dict[signal.Signals, object] = {}

    def raise_if_signalled(self) -> None:
        """Raise `Interruption` if a signal has arrived."""
        if self._count:
            raise Interruption

    def should_hurry(self) -> bool:
        """Whether a second signal has arrived, which requests an immediate stop."""
        return self._count > 1

    def __enter__(self) -> Self:
        counted_signals = {signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            counted_signals.add(signal.SIGHUP)
        for signal_number in counted_signals:
            self._previous_handlers[signal_number] = signal.signal(signal_number, self._count_signal)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for signal_number, handler in self._previous_handlers.items():
            signal.signal(signal_number, handler)  # type: ignore[arg-type]  # a value that signal.signal() returned

    def _count_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

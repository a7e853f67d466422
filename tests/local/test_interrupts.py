"""`backburner up` stops at SIGINT, SIGTERM and SIGHUP; SIGHUP means that its terminal was closed."""

import os
import signal
from collections.abc import Iterator

import pytest

from local.processes.interrupts import Interruption, Interrupts


@pytest.fixture
def restore_hangup_handler() -> Iterator[None]:
    """Restore the handler of SIGHUP after the test."""
    handler = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_or_the_end_of_the_terminal_interrupts_the_stack(stop_signal: signal.Signals) -> None:
    with Interrupts() as interrupts:
        interrupts.raise_if_signalled()
        os.kill(os.getpid(), stop_signal)

        with pytest.raises(Interruption):
            interrupts.raise_if_signalled()


@pytest.mark.usefixtures("restore_hangup_handler")
def test_the_end_of_the_terminal_does_not_interrupt_a_stack_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)

        interrupts.raise_if_signalled()

"""Waiting for a condition with a deadline; what tests use instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LONGEST_PAUSE_S = 0.06


def until(condition: Callable[[], T], *, within_s: float = 10, every_s: float = 0.02) -> T:
    """Return the condition's first true value; fail when there is none in time.

    Args:
        every_s: the first pause between two evaluations; later ones grow to `LONGEST_PAUSE_S`, since an evaluation
            that asks a server costs processor time which the awaited process needs.
    """
    deadline = time.monotonic() + within_s
    pause_s = every_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {condition}")
        time.sleep(pause_s)
        pause_s = max(every_s, min(1.2 * pause_s, LONGEST_PAUSE_S))
    return value

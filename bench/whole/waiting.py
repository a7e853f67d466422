"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, within_s: float = 60, every_s: float = 0.05) -> None:
    """Return when the condition holds; it is asked every `every_s` seconds.

    Args:
        what: names the condition in the error.

    Raises:
        TimeoutError: it did not hold within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_s:.0f} s.")
        time.sleep(every_s)

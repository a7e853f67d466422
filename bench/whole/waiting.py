"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str, within_s: float = 60, every_s: float = 0.05) -> None:
    """Wait until the condition is true, checking it every `every_s` seconds.

    Args:
        what: description of the condition for the error message.

    Raises:
        TimeoutError: the condition was not true within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Timed out after {within_s:.0f} s: {what}.")
        time.sleep(every_s)

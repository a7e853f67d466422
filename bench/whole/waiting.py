"""Waits for a condition of the complete system."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool], description: str, timeout_s: float = 60, interval_s: float = 0.05
) -> None:
    """Wait until the condition is true; check it every `interval_s` seconds.

    Args:
        description: noun phrase for the awaited event, for the error message.

    Raises:
        TimeoutError: the condition was not true within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Timed out after {timeout_s:.0f} s while waiting for {description}.")
        time.sleep(interval_s)

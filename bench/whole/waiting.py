"""Waits for conditions."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool], description: str, timeout_s: float = 60, interval_s: float = 0.05
) -> None:
    """Wait until the condition is true. It is checked every `interval_s` seconds.

    Args:
        description: text for the error message.

    Raises:
        TimeoutError: the condition was not true within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Timed out after {timeout_s:.0f} s: {description}.")
        time.sleep(interval_s)

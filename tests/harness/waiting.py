"""Functions that wait for a condition and fail after a timeout; tests use them instead of fixed pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

import openai

T = TypeVar("T")
LONGEST_PAUSE_S = 0.06


def until(condition: Callable[[], T], *, timeout_s: float = 10, first_pause_s: float = 0.02) -> T:
    """Return the first true value of the condition; fail if it has no true value within `timeout_s` seconds.

    Args:
        first_pause_s: the first pause between two evaluations. Later pauses grow up to `LONGEST_PAUSE_S`, because an
            evaluation that queries a server takes processor time from the process under test.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = first_pause_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {condition}")
        time.sleep(pause_s)
        pause_s = max(first_pause_s, min(1.2 * pause_s, LONGEST_PAUSE_S))
    return value


def wait_for_end(client: openai.OpenAI, response_id: str, timeout_s: float = 15) -> openai.types.responses.Response:
    """Wait until a response has ended, and return the response."""

    def read_if_ended() -> openai.types.responses.Response | None:
        response = client.responses.retrieve(response_id)
        return None if response.status in {"queued", "in_progress"} else response

    response = until(read_if_ended, timeout_s=timeout_s)
    assert response is not None
    return response

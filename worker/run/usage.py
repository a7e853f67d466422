"""The token usage of a response, as reported to the client: all attempts together count as one run."""

from typing import Any

from core import jsonio
from core.runs.attempts import Attempt
from core.wire import response
from worker.models.protocol import Used

# Estimated number of characters per token, for use when the model server does not count.
_CHARACTERS_A_TOKEN = 4


def estimated_input(attempt: Attempt) -> int:
    """Return the estimated number of input tokens."""
    characters = len(jsonio.dumps(attempt.context)) + len(attempt.request.instructions or "")
    return characters // _CHARACTERS_A_TOKEN


def of_response(attempt: Attempt, used: Used) -> dict[str, Any]:
    """Return the wire format's usage of a response: the input once, and all output shown.

    The output of earlier attempts is not counted as input, although it was input to an attempt that continued it.

    Args:
        attempt: the last attempt.
        used: the tokens that the last attempt used.
    """
    again = attempt.tokens if attempt.prefix else 0
    return response.usage(
        max(0, used.input_tokens - again),
        attempt.tokens + used.output_tokens,
        used.cached_tokens,
        used.reasoning_tokens,
    )

"""What a response used: one run as its client sees it, each attempt as it was."""

from typing import Any

from core import jsonio
from core.runs.attempts import Attempt
from core.wire import response
from worker.models.protocol import Used

# Without a count from the model server: about so many characters make a token.
_CHARACTERS_A_TOKEN = 4


def estimated_input(attempt: Attempt) -> int:
    """The tokens the model was shown, about."""
    characters = len(jsonio.dumps(attempt.context)) + len(attempt.request.instructions or "")
    return characters // _CHARACTERS_A_TOKEN


def of_response(attempt: Attempt, used: Used) -> dict[str, Any]:
    """The wire's usage of a response whose last attempt used so much: the input once, all the output shown.

    What an earlier attempt had said was input to the later one, if it went on with it.
    """
    again = attempt.tokens if attempt.prefix else 0
    return response.usage(
        max(0, used.input_tokens - again),
        attempt.tokens + used.output_tokens,
        used.cached_tokens,
        used.reasoning_tokens,
    )

"""The token usage that is reported to the client: that of the response, as if it had had only one attempt."""

from core import jsonio
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from core.wire import response
from worker.models.protocol import TokenUsage

# Estimated number of characters per token, for model servers that do not count tokens.
_CHARACTERS_PER_TOKEN = 4


def estimated_input_tokens(attempt: Attempt) -> int:
    """Return the estimated number of input tokens."""
    characters = len(jsonio.dumps(attempt.context)) + len(attempt.request.instructions or "")
    return characters // _CHARACTERS_PER_TOKEN


def response_usage(attempt: Attempt, token_usage: TokenUsage) -> JsonObject:
    """Return the `usage` field of a response: the input tokens once, and the output tokens of all attempts.

    Output of earlier attempts is not counted as input, although it was part of the input of a later attempt.

    Args:
        attempt: the last attempt.
        token_usage: the tokens that the last attempt used.
    """
    continued_tokens = attempt.partial_output_tokens if attempt.prefix else 0
    return response.usage(
        max(0, token_usage.input_tokens - continued_tokens),
        attempt.partial_output_tokens + token_usage.output_tokens,
        token_usage.cached_tokens,
        token_usage.reasoning_tokens,
    )

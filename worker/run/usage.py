"""The token usage that clients receive: usage of the whole response, as if it had only one attempt."""

from core import jsonio
from core.context import parts
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from core.wire import response
from worker.models.protocol import TokenUsage

# Estimated number of characters per token, for model servers that do not count tokens.
_CHARACTERS_PER_TOKEN = 4
# Maximum number of tokens that a server counts in addition to the text: its template, and hidden reasoning.
_TEMPLATE_TOKENS = 16_384
_HIDDEN_TOKENS = 1_000_000
# Maximum number of tokens of one image or file. Its bytes are not part of the text of the context.
_MEDIA_TOKENS = 65_536


def is_plausible(token_usage: TokenUsage, attempt: Attempt, output_bytes: int, context_window: int | None) -> bool:
    """Return whether a model server can have used as many tokens as it reports.

    A token is at least one byte of text. A report that is too high would be charged to the project's credits.

    Args:
        output_bytes: size of the output that the server has sent.
        context_window: maximum number of tokens of the prompt and the output together, if it is configured.
    """
    limit = attempt.request.max_output_tokens
    max_output_tokens = output_bytes + _HIDDEN_TOKENS if limit is None else limit + _TEMPLATE_TOKENS
    if context_window is not None and token_usage.input_tokens + token_usage.output_tokens > context_window:
        return False
    if token_usage.output_tokens > max_output_tokens:
        return False
    # Serialize the prompt only if necessary: a long prompt takes more time than all other work at the end of a run.
    return token_usage.input_tokens <= _TEMPLATE_TOKENS or token_usage.input_tokens <= _max_input_tokens(attempt)


def _max_input_tokens(attempt: Attempt) -> int:
    request = attempt.request
    prompt = (attempt.context, attempt.prefix, request.instructions, [tool.model_dump() for tool in request.tools])
    media_count = sum(parts.is_media(part) for item in attempt.context for part in parts.parts(item))
    return sum(len(jsonio.dumps(value)) for value in prompt) + _TEMPLATE_TOKENS + media_count * _MEDIA_TOKENS


def estimated_input_tokens(attempt: Attempt) -> int:
    """Return the estimated number of input tokens."""
    characters = len(jsonio.dumps(attempt.context)) + len(attempt.request.instructions or "")
    return characters // _CHARACTERS_PER_TOKEN


def response_usage(attempt: Attempt, token_usage: TokenUsage) -> JsonObject:
    """Return the `usage` field of a response: the input tokens once, and the output tokens of all attempts.

    If the last attempt continues a partial text, the output of earlier attempts is not counted as input, although it
    was part of the last request.

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

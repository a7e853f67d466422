"""Recognizes model servers' errors for requests that exceed the context length, and extracts the token counts."""

import re
from collections.abc import Mapping
from typing import Any

from core import errors

# Error messages of vLLM, SGLang, llama.cpp, TGI, Ollama and hosted servers, taken from their source or documentation.
_TOO_LONG_PATTERN = re.compile(
    r"maximum context length|context[ _](length|size|window)|max_model_len|longer than the model's context"
    r"|exceeds? the (available |model's )?context|(input|prompt|request) is too (long|large)"
    r"|maximum (input|prompt) length|too many (input |prompt )?tokens|inputs?\W+tokens? \+ .?max_new_tokens",
    re.IGNORECASE,
)
# A tuple instead of a set, because the value to look up may be unhashable.
_ERROR_CODES = ("context_length_exceeded", "exceed_context_size_error")
_NUMBER = r"\D{0,3}(\d[\d,]*)"
# Patterns for the number of tokens in the request.
_COUNT_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"requested (?:a total of |about )?{_NUMBER} tokens",
        rf"resulted in {_NUMBER} tokens",
        rf"requested tokens \({_NUMBER}\)",
        rf"(?:input|prompt|request) (?:\(|has |contains (?:at least )?|is ){_NUMBER}\s*(?:input |prompt )?tokens",
        rf"(?:prompt|request) \({_NUMBER} tokens\)",
        rf"prompt is too long:{_NUMBER} tokens",
        rf"given:?{_NUMBER}",
    )
)
# Patterns for the maximum number of tokens.
_LIMIT_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:maximum|model's) context (?:length|window)(?: size)?(?: of| is|:)?(?: only)?{_NUMBER}",
        rf"context (?:size|length|window)(?: of| is)?[ (]+{_NUMBER}",
        rf"tokens >{_NUMBER} maximum",
        rf"must be <={_NUMBER}",
    )
)
_MAX_DIGITS = 12
# HTTP statuses that servers use for this error; some versions of llama.cpp used 500.
_STATUSES = frozenset({400, 413, 422, 500})


def context_error(
    status: int, error: Mapping[str, Any], server_message: str, message: str
) -> errors.ContextExceeded | None:
    """Return a `ContextExceeded` with the server's token counts, or None for any other error.

    Args:
        status: HTTP status of the answer.
        error: the server's error object.
        server_message: the server's error message.
        message: the message of the error to return.
    """
    if status not in _STATUSES:
        return None
    if (
        error.get("code") not in _ERROR_CODES
        and error.get("type") not in _ERROR_CODES
        and not _TOO_LONG_PATTERN.search(server_message)
    ):
        return None
    tokens, limit = error.get("n_prompt_tokens"), error.get("n_ctx")  # fields of llama.cpp
    return errors.ContextExceeded(
        message,
        tokens=tokens if isinstance(tokens, int) else _first_number(_COUNT_PATTERNS, server_message),
        limit=limit if isinstance(limit, int) else _first_number(_LIMIT_PATTERNS, server_message),
    )


def _first_number(patterns: tuple[re.Pattern[str], ...], message: str) -> int | None:
    """Return the number in the message that the first matching pattern captures, or None."""
    for pattern in patterns:
        if match := pattern.search(message):
            return int(match[1].replace(",", "")[:_MAX_DIGITS])
    return None

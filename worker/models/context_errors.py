"""Recognizes the errors of model servers for requests that exceed the context length, and extracts token counts."""

import re
from collections.abc import Mapping
from typing import Any

from core import errors

# Error messages of vLLM, SGLang, llama.cpp, TGI, Ollama and hosted servers, taken from their source or documentation.
_SAYS_SO = re.compile(
    r"maximum context length|context[ _](length|size|window)|max_model_len|longer than the model's context"
    r"|exceeds? the (available |model's )?context|(input|prompt|request) is too (long|large)"
    r"|maximum (input|prompt) length|too many (input |prompt )?tokens|inputs?\W+tokens? \+ .?max_new_tokens",
    re.IGNORECASE,
)
_CODES = ("context_length_exceeded", "exceed_context_size_error")  # not a set: the value to look up may be unhashable
_NUMBER = r"\D{0,3}(\d[\d,]*)"
# The number of tokens in the request, and below it the maximum.
_COUNTS = tuple(
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
_LIMITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:maximum|model's) context (?:length|window)(?: size)?(?: of| is|:)?(?: only)?{_NUMBER}",
        rf"context (?:size|length|window)(?: of| is)?[ (]+{_NUMBER}",
        rf"tokens >{_NUMBER} maximum",
        rf"must be <={_NUMBER}",
    )
)


# HTTP statuses that servers use for this error; some versions of llama.cpp used 500.
_STATUSES = frozenset({400, 413, 422, 500})


def found(status: int, error: Mapping[str, Any], words: str, text: str) -> errors.ContextExceeded | None:
    """Return a `ContextExceeded` with the token counts that the server gives, or None if this is another error.

    Args:
        status: HTTP status of the answer.
        error: the server's error object.
        words: the server's error message.
        text: the message of the error to return.
    """
    if status not in _STATUSES:
        return None
    if error.get("code") not in _CODES and error.get("type") not in _CODES and not _SAYS_SO.search(words):
        return None
    counted, limit = error.get("n_prompt_tokens"), error.get("n_ctx")
    return errors.ContextExceeded(
        text,
        tokens=counted if isinstance(counted, int) else _first(_COUNTS, words),
        limit=limit if isinstance(limit, int) else _first(_LIMITS, words),
    )


def _first(patterns: tuple[re.Pattern[str], ...], words: str) -> int | None:
    found = next(filter(None, (pattern.search(words) for pattern in patterns)), None)
    return int(found[1].replace(",", "")[:12]) if found else None

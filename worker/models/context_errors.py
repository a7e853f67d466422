"""What model servers say when a request is longer than their context, and the numbers they give."""

import re
from collections.abc import Mapping
from typing import Any

from core import errors

# The words of vLLM, SGLang, llama.cpp, TGI, Ollama and hosted servers; each was read in its source or documents.
_SAYS_SO = re.compile(
    r"maximum context length|context[ _](length|size|window)|max_model_len|longer than the model's context"
    r"|exceeds? the (available |model's )?context|(input|prompt|request) is too (long|large)"
    r"|maximum (input|prompt) length|too many (input |prompt )?tokens|inputs?\W+tokens? \+ .?max_new_tokens",
    re.IGNORECASE,
)
_CODES = ("context_length_exceeded", "exceed_context_size_error")  # no set: what is looked for may be anything
_NUMBER = r"\D{0,3}(\d[\d,]*)"
# How many tokens there are, and how many there may be.
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


# Statuses under which servers say so: llama.cpp said it with 500 for a time.
_STATUSES = frozenset({400, 413, 422, 500})


def found(status: int, error: Mapping[str, Any], words: str, text: str) -> errors.ContextExceeded | None:
    """The error for an answer that says so, with the numbers it gives; None for an answer that says something else.

    Args:
        error: what the server says about its error, by name.
        words: the same in words.
        text: what the error shall say.
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

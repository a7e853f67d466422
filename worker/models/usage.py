"""Parses the token counts of a model server, and ignores invalid counts."""

from typing import Any

from core.jsonio import JsonObject
from worker.models.protocol import TokenUsage

# Counts of this size or larger are errors of the server.
_COUNT_LIMIT = 2**53


def parse_usage(value: Any, input_field: str, output_field: str) -> TokenUsage | None:
    """Return the token counts, or None if they are missing or invalid: a response must not fail because of them.

    Args:
        value: the `usage` field from the server.
        input_field: name of the field with the number of input tokens.
        output_field: name of the field with the number of output tokens.
    """
    if not isinstance(value, dict):
        return None
    input_tokens = _parse_count(value.get(input_field))
    output_tokens = _parse_count(value.get(output_field))
    if input_tokens is None or output_tokens is None:
        return None
    cached_tokens = _parse_detail(value, input_field, "cached_tokens")
    reasoning_tokens = _parse_detail(value, output_field, "reasoning_tokens")
    return TokenUsage(
        input_tokens, output_tokens, min(cached_tokens, input_tokens), min(reasoning_tokens, output_tokens)
    )


def _parse_detail(usage: JsonObject, field: str, name: str) -> int:
    details = usage.get(f"{field}_details")
    return (_parse_count(details.get(name)) if isinstance(details, dict) else None) or 0


def _parse_count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT_LIMIT
    return value if is_valid else None

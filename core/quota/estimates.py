"""Estimates of the tokens of a request, made before any model has processed it."""

from typing import Any

from core import jsonio
from core.wire.request import CreateResponse

# Approximate characters per token, since no tokenizer is used.
CHARACTERS_A_TOKEN = 4
# Tokens per image or file, whatever its size.
PART_TOKENS = 1000
# Output tokens of a request without `max_output_tokens`.
OUTPUT_TOKENS = 1000

_NOT_SHOWN = frozenset({"id", "type", "status", "call_id", "encrypted_content", "detail", "filename"})
_PARTS = frozenset({"image_url", "file_url", "file_data"})


def input_tokens(request: CreateResponse) -> int:
    """Estimate the input tokens of a request; the context of `previous_response_id` is not included."""
    characters, parts = len(request.instructions or ""), 0
    if isinstance(request.input, str):
        characters += len(request.input)
    elif request.input is not None:
        characters_in, parts = _size([item.model_dump(exclude_none=True) for item in request.input])
        characters += characters_in
    if request.tools:
        characters += len(jsonio.dumps([tool.echo() for tool in request.tools]))
    return -(-characters // CHARACTERS_A_TOKEN) + parts * PART_TOKENS


def _size(value: Any) -> tuple[int, int]:
    """Return the number of characters of all strings in a JSON value, and the number of images and files."""
    characters, parts = 0, 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            characters += len(one)
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            parts += sum(1 for key in one if key in _PARTS)
            waiting += [inner for key, inner in one.items() if key not in _NOT_SHOWN | _PARTS]
    return characters, parts


def tokens(request: CreateResponse, *, limit: int) -> int:
    """Estimate the tokens of a request and its output, to be taken from a per-minute limit.

    `max_output_tokens` counts in full. Without it, a default counts, which is reduced so that it alone never makes a
    request exceed the limit.

    Args:
        limit: the tokens per minute of the project for the model.
    """
    shown = input_tokens(request)
    if request.max_output_tokens is not None:
        return shown + request.max_output_tokens
    return shown + max(0, min(OUTPUT_TOKENS, limit - shown))

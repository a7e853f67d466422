"""Estimates of the tokens of a request before a model has processed it."""

import math
from typing import Any

from core import jsonio
from core.wire.request import CreateResponse

# Approximate characters per token, since no tokenizer is used.
CHARACTERS_PER_TOKEN = 4
# Tokens per image or file of any size.
PART_TOKENS = 1000
# Output tokens of a request without `max_output_tokens`.
OUTPUT_TOKENS = 1000

# Fields of items and parts that are not sent to the model as text.
_HIDDEN_FIELDS = frozenset({"id", "type", "status", "call_id", "encrypted_content", "detail", "filename"})
_MEDIA_FIELDS = frozenset({"image_url", "file_url", "file_data"})


def input_tokens(request: CreateResponse) -> int:
    """Estimate the input tokens of a request; the context of `previous_response_id` is not included."""
    characters, part_count = len(request.instructions or ""), 0
    if isinstance(request.input, str):
        characters += len(request.input)
    elif request.input is not None:
        item_characters, part_count = _measure([item.model_dump(exclude_none=True) for item in request.input])
        characters += item_characters
    if request.tools:
        characters += len(jsonio.dumps([tool.echo() for tool in request.tools]))
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + part_count * PART_TOKENS


def _measure(value: Any) -> tuple[int, int]:
    """Return the number of characters that a JSON value has for the model, and its number of images and files."""
    characters, part_count = 0, 0
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            characters += len(node)
        elif isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            part_count += sum(1 for key in node if key in _MEDIA_FIELDS)
            stack += [child for key, child in node.items() if key not in _HIDDEN_FIELDS | _MEDIA_FIELDS]
    return characters, part_count


def tokens(request: CreateResponse, *, limit: int) -> int:
    """Estimate the tokens of a request and its output, which are counted against a per-minute limit.

    The estimate includes `max_output_tokens` in full. Without this parameter it includes a default, which is reduced if
    it would make the request exceed the limit.

    Args:
        limit: the tokens per minute of the project for the model.
    """
    input_estimate = input_tokens(request)
    if request.max_output_tokens is not None:
        return input_estimate + request.max_output_tokens
    return input_estimate + max(0, min(OUTPUT_TOKENS, limit - input_estimate))

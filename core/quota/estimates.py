"""About how many tokens a request will take, before any model has seen it."""

from typing import Any

from core import jsonio
from core.wire.request import CreateResponse

# Without a tokenizer: about so many characters make a token.
CHARACTERS_A_TOKEN = 4
# An image or a file, whatever is in it.
PART_TOKENS = 1000
# Of an answer whose length the request leaves open.
OUTPUT_TOKENS = 1000

_NOT_SHOWN = frozenset({"id", "type", "status", "call_id", "encrypted_content", "detail", "filename"})
_PARTS = frozenset({"image_url", "file_url", "file_data"})


def input_tokens(request: CreateResponse) -> int:
    """The tokens of what the request itself says; what it continues is not read for it."""
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
    """The characters of the texts in a value, and how many images and files there are."""
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
    """The tokens of a request and its answer, as they are taken from a limit a minute.

    What the answer may have by `max_output_tokens` counts in full. Where that is left open a guess counts, which alone
    is never the reason why a request does not fit into the limit.
    """
    shown = input_tokens(request)
    if request.max_output_tokens is not None:
        return shown + request.max_output_tokens
    return shown + max(0, min(OUTPUT_TOKENS, limit - shown))

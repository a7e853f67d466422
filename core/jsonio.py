"""JSON encoding and decoding: UTF-8, compact, keys in insertion order."""

from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Serialize `value` to JSON text. Strings must be valid Unicode; requests are validated before they get here."""
    return orjson.dumps(value).decode()


def loads(text: str | bytes) -> Any:
    """Parse JSON text that Backburner has written."""
    return orjson.loads(text)


def pretty(text: str) -> str:
    """Reformat JSON text that Backburner has written, with indentation for human readers."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()

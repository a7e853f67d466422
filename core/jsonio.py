"""JSON encoding and decoding: UTF-8, compact, keys in insertion order."""

from typing import Any

import orjson

# A JSON object. Its fields have been checked: pydantic models and parsers check objects from clients and model servers
# when they are received, and stored objects were checked before they were written.
JsonObject = dict[str, Any]


def dumps(value: Any) -> str:
    """Serialize `value` to JSON text. Strings must be valid Unicode, which the validation of requests ensures."""
    return orjson.dumps(value).decode()


def json_fragment(text: str) -> object:
    """Return a value that `dumps` writes as this JSON text, without parsing it."""
    return orjson.Fragment(text)


def loads(text: str | bytes) -> Any:
    """Parse JSON text that Backburner has written."""
    return orjson.loads(text)


def indent_json(text: str) -> str:
    """Reformat JSON text that Backburner has written, with indentation for human readers."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()

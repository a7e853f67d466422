"""JSON as we write it everywhere: UTF-8, compact, keys in the order they were given."""

from typing import Any

import orjson


def dumps(value: Any) -> str:
    """`value` as JSON text; text that is not valid Unicode is refused before it gets here."""
    return orjson.dumps(value).decode()


def loads(text: str | bytes) -> Any:
    """The value of JSON text of ours."""
    return orjson.loads(text)


def pretty(text: str) -> str:
    """JSON text of ours for a person."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()

"""Builds HTTP requests in wire format."""

from collections.abc import Mapping
from typing import Any

import orjson

_NONE: Mapping[str, str] = {}


def get(path: str, key: str = "", headers: Mapping[str, str] = _NONE) -> str:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_lines(key, headers)}\r\n"


def post(path: str, body: dict[str, Any], key: str = "", headers: Mapping[str, str] = _NONE) -> str:
    """A POST request with a JSON body."""
    text = orjson.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_lines(key, headers)}"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    ) + text.decode("latin-1")


def _lines(key: str, headers: Mapping[str, str]) -> str:
    lines = {"Authorization": f"Bearer {key}", **headers} if key else headers
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items())

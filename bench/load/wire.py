"""Builds HTTP requests in wire format."""

from typing import Any

import orjson


def get(path: str, key: str = "") -> str:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_authorization(key)}\r\n"


def post(path: str, body: dict[str, Any], key: str = "") -> str:
    """A POST request with a JSON body."""
    text = orjson.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_authorization(key)}"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    ) + text.decode("latin-1")


def _authorization(key: str) -> str:
    return f"Authorization: Bearer {key}\r\n" if key else ""

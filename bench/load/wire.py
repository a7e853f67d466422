"""Builds HTTP requests in wire format."""

from collections.abc import Mapping
from typing import Any

import orjson

_NO_HEADERS: Mapping[str, str] = {}


def get_request(path: str, key: str = "", headers: Mapping[str, str] = _NO_HEADERS) -> str:
    """Build a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_header_lines(key, headers)}\r\n"


def post_request(path: str, body: dict[str, Any], key: str = "", headers: Mapping[str, str] = _NO_HEADERS) -> str:
    """Build a POST request with a JSON body."""
    content = orjson.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_header_lines(key, headers)}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ) + content.decode("latin-1")


def _header_lines(key: str, headers: Mapping[str, str]) -> str:
    all_headers = {"Authorization": f"Bearer {key}", **headers} if key else headers
    return "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())

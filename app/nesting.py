"""Finds, without recursion, the parameter in which JSON is nested too deeply to parse, for the error message."""

import re

# Only this part of a body is searched, to limit the time spent on a request that is rejected anyway.
_SEARCH_LIMIT_BYTES = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{},:]', re.DOTALL)
# Parameters with content that the client defines: paths inside them are not parameters, so the error names only these.
_CLIENT_DATA = re.compile(r"(text\.format\.schema|tools\[\d+\]\.parameters|metadata)\b")


def deep_param(text: bytes, limit: int) -> str | None:
    """The first parameter that is nested deeper than `limit` levels of objects and arrays; None if there is none.

    Args:
        text: JSON, possibly invalid.
    """
    path: list[str | int] = []
    last_string: str | None = None
    for match in _TOKEN.finditer(text, 0, _SEARCH_LIMIT_BYTES):
        token = match[0]
        if token in b"{[":
            if len(path) >= limit:
                return _param_name(path)
            path.append("" if token == b"{" else 0)
        elif token in b"}]":
            path[-1:] = []
        elif token == b"," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif token == b":" and path and last_string is not None:
            path[-1] = last_string
        last_string = token[1:-1].decode(errors="replace") if token[:1] == b'"' else None
    return None


def _param_name(path: list[str | int]) -> str | None:
    """The parameter to report for a path in the body."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[:6])[1:]
    client_data = _CLIENT_DATA.match(text)
    if client_data:
        return client_data[1]
    return path[0] if isinstance(path[0], str) else None

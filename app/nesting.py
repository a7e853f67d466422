"""Finds, without recursion, the parameter in which JSON is nested too deeply to parse, for the error message."""

import re

# The search covers only this much of a body, to bound the time spent on a request that is rejected anyway.
_LOOKED_AT_BYTES = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{},:]', re.DOTALL)
# Values whose content is up to the client: a path inside them is not a parameter, so the error names the value.
_FREE = re.compile(r"(text\.format\.schema|tools\[\d+\]\.parameters|metadata)\b")


def deep_param(text: bytes, limit: int) -> str | None:
    """The first parameter in which `text` has more than `limit` levels of objects and arrays; None if none is found.

    Args:
        text: JSON, possibly invalid.
    """
    path: list[str | int] = []
    name: str | None = None
    for found in _TOKEN.finditer(text, 0, _LOOKED_AT_BYTES):
        token = found[0]
        if token in b"{[":
            if len(path) >= limit:
                return _param(path)
            path.append("" if token == b"{" else 0)
        elif token in b"}]":
            path[-1:] = []
        elif token == b"," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif token == b":" and path and name is not None:
            path[-1] = name
        name = token[1:-1].decode(errors="replace") if token[:1] == b'"' else None
    return None


def _param(path: list[str | int]) -> str | None:
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[:6])[1:]
    free = _FREE.match(written)
    if free:
        return free[1]
    return path[0] if isinstance(path[0], str) else None

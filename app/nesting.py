"""Where JSON nests too deeply to be read: found without recursion, so that the error can name the parameter."""

import re

# So much of a body is looked through, lest the search for the place take longer than the request is worth.
_LOOKED_AT_BYTES = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{},:]', re.DOTALL)
# In these everything is the client's own: a place inside them is no parameter's.
_FREE = re.compile(r"(text\.format\.schema|tools\[\d+\]\.parameters|metadata)\b")


def deep_param(text: bytes, limit: int) -> str | None:
    """The parameter in which `text` first has more than `limit` levels of objects and arrays, if it is found.

    Args:
        text: JSON, or something close to it.
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

"""Converts the log probabilities and annotations of a text from model servers into the wire format."""

import math
from typing import Any

# The value that OpenAI's API uses for a negligible probability.
_LEAST = -9999.0
_LARGEST = 2**53

_ANNOTATIONS: dict[str, dict[str, type]] = {
    "url_citation": {"url": str, "title": str, "start_index": int, "end_index": int},
    "file_citation": {"file_id": str, "filename": str, "index": int},
    "file_path": {"file_id": str, "index": int},
    "container_file_citation": {
        "container_id": str,
        "file_id": str,
        "filename": str,
        "start_index": int,
        "end_index": int,
    },
}


def logprobs(found: Any, top: int) -> tuple[dict[str, Any], ...]:
    """Return the log probabilities of a text's tokens in the wire format; values of other types are dropped.

    Args:
        found: the model server's value.
        top: number of alternatives per token that were requested; some servers send more.
    """
    return tuple(
        _token(one) | {"top_logprobs": [_token(other) for other in _listed(one.get("top_logprobs"))[:top]]}
        for one in _listed(found)
    )


def _listed(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _token(found: dict[str, Any]) -> dict[str, Any]:
    token = str(found.get("token", ""))
    raw = found.get("bytes")
    if not isinstance(raw, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        raw = list(token.encode(errors="replace"))
    logprob = found.get("logprob")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        logprob = _LEAST
    return {"token": token, "bytes": raw, "logprob": float(logprob)}


def annotation(found: Any) -> dict[str, Any] | None:
    """Return an annotation in the wire format, or None if its type is unknown or its first field is missing.

    Args:
        found: the model server's value; its fields may be nested under the name of its type.
    """
    if not isinstance(found, dict) or found.get("type") not in _ANNOTATIONS:
        return None
    kind = found["type"]
    given: dict[str, Any] = found[kind] if isinstance(found.get(kind), dict) else found
    needed, *_ = _ANNOTATIONS[kind]
    if not isinstance(given.get(needed), str):
        return None
    made: dict[str, Any] = {"type": kind}
    for name, wanted in _ANNOTATIONS[kind].items():
        value: Any = given.get(name)
        if not isinstance(value, wanted) or (isinstance(value, int) and not 0 <= value < _LARGEST):
            value = wanted()
        made[name] = value
    return made

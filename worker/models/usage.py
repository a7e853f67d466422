"""Reads the token counts of a model server, ignoring implausible ones."""

from typing import Any

from worker.models.protocol import Used

# Counts from this limit on are taken to be an error of the server.
_LIMIT = 2**53


def used(found: Any, inputs: str, outputs: str) -> Used | None:
    """Return the token counts, or None if they are implausible: invalid counts must not make the response fail.

    Args:
        found: the `usage` value that the server sent.
        inputs: name of the field with the input tokens.
        outputs: name of the field with the output tokens.
    """
    if not isinstance(found, dict):
        return None
    counted = _count(found.get(inputs))
    made = _count(found.get(outputs))
    if counted is None or made is None:
        return None
    cached = _detail(found, inputs, "cached_tokens")
    reasoning = _detail(found, outputs, "reasoning_tokens")
    return Used(counted, made, min(cached, counted), min(reasoning, made))


def _detail(found: dict[str, Any], which: str, name: str) -> int:
    details = found.get(f"{which}_details")
    return (_count(details.get(name)) if isinstance(details, dict) else None) or 0


def _count(found: Any) -> int | None:
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    fits = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _LIMIT
    return found if fits else None

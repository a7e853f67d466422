"""The tokens a model server counted, as far as they make sense."""

from typing import Any

from worker.models.protocol import Used

# More tokens than this nobody counts: it is a server's mistake.
_LIMIT = 2**53


def used(found: Any, inputs: str, outputs: str) -> Used | None:
    """The counts under these names, or None where they make no sense: an answer is not lost for its bill.

    Args:
        found: what the server sent as `usage`.
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

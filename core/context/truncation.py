"""Which of the oldest turns of a context can be left out, so that the rest fits. Pure functions."""

from collections.abc import Sequence

from core.wire.items import Item

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_PINNED_ROLES = frozenset({"system", "developer"})
# A share that was estimated is undershot by so much: characters are not tokens.
_MARGIN = 0.95


def cuts(context: Sequence[Item]) -> list[int]:
    """The places at which a context may begin instead of at 0, ascending.

    Each is a user's message, so whole turns are dropped: a question with all that followed it. Each drops more than
    the one before, none the last question, and none lies between a call and its output.
    """
    found: list[int] = []
    blocked_until = _ends_of_calls(context)
    reach, drops = 0, False
    for place, item in enumerate(context):
        if drops and item["type"] == "message" and item["role"] == "user" and reach < place:
            found.append(place)
            drops = False
        reach = max(reach, blocked_until.get(place, 0))
        drops = drops or not _is_pinned(item)
    return found


def _ends_of_calls(context: Sequence[Item]) -> dict[int, int]:
    """By the place of each call, that of its last output."""
    ends: dict[int, int] = {}
    calls: dict[tuple[str, str], int] = {}
    for place, item in enumerate(context):
        if item["type"] in _CALLS:
            calls[f"{item['type']}_output", item["call_id"]] = place
        elif item["type"] in _OUTPUTS and (item["type"], item["call_id"]) in calls:
            ends[calls[item["type"], item["call_id"]]] = place
    return ends


def cut(context: Sequence[Item], place: int) -> tuple[list[Item], list[str]]:
    """The context from `place` on, with what the system and the developer said before, and the IDs of what is dropped.

    Args:
        place: 0, or one of `cuts`.
    """
    before = context[:place]
    pinned = [item for item in before if _is_pinned(item)]
    return [*pinned, *context[place:]], [item["id"] for item in before if not _is_pinned(item)]


def _is_pinned(item: Item) -> bool:
    return item["type"] == "message" and item["role"] in _PINNED_ROLES


def next_cut(
    sizes: Sequence[int], now: int, tried: int, *, tokens: int | None = None, limit: int | None = None
) -> int | None:
    """The cut to try after one that was too long still; None if there is none left.

    With numbers of the model server: the first by which the rest is as much smaller as it must be. Without: a step
    on, and twice as far with every try.

    Args:
        sizes: what is left of the context by each cut, the first being the whole; descending, in any unit.
        now: the index in `sizes` of what was too long.
        tried: how many were too long, the whole one included.
        tokens: of the one that was too long.
        limit: what it must not be longer than.
    """
    following = range(now + 1, len(sizes))
    if not following:
        return None
    if tokens and limit and tokens > limit:
        target = sizes[now] * limit / tokens * _MARGIN
        for index in following:
            if sizes[index] <= target:
                return index
        return following[-1]
    return min(now + (1 << (tried - 1)), following[-1])

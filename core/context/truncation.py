"""Choice of the oldest turns to drop from a context so that the rest fits. Pure functions."""

from collections.abc import Sequence

from core.wire.items import Item

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_PINNED_ROLES = frozenset({"system", "developer"})
# Safety factor for an estimated target size: characters are not tokens.
_MARGIN = 0.95


def cuts(context: Sequence[Item]) -> list[int]:
    """The positions at which a context may begin instead of at 0, ascending.

    Each is a user message, so that only complete turns are dropped: a question with everything that follows it. Each
    cut drops more than the one before. No cut drops the last question or separates a tool call from its output.
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
    """The position of the last output of each tool call, by the position of the call."""
    ends: dict[int, int] = {}
    calls: dict[tuple[str, str], int] = {}
    for place, item in enumerate(context):
        if item["type"] in _CALLS:
            calls[f"{item['type']}_output", item["call_id"]] = place
        elif item["type"] in _OUTPUTS and (item["type"], item["call_id"]) in calls:
            ends[calls[item["type"], item["call_id"]]] = place
    return ends


def cut(context: Sequence[Item], place: int) -> tuple[list[Item], list[str]]:
    """The context from `place` on, after the earlier system and developer messages; and the IDs of the dropped items.

    Args:
        place: 0, or a position from `cuts`.
    """
    before = context[:place]
    pinned = [item for item in before if _is_pinned(item)]
    return [*pinned, *context[place:]], [item["id"] for item in before if not _is_pinned(item)]


def _is_pinned(item: Item) -> bool:
    return item["type"] == "message" and item["role"] in _PINNED_ROLES


def next_cut(
    sizes: Sequence[int], now: int, tried: int, *, tokens: int | None = None, limit: int | None = None
) -> int | None:
    """The cut to try after one that was still too long; None if there is none left.

    With token counts of the model server, it is the first cut after which the rest is expected to fit, or else the last
    cut. Without, it is one step further, and the step doubles with every attempt.

    Args:
        sizes: size of the context after each cut, in any unit, descending; the first is the entire context.
        now: index in `sizes` of the cut that was too long.
        tried: number of attempts that were too long, including the one with the entire context.
        tokens: token count of the attempt that was too long.
        limit: maximum token count.
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

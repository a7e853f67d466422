"""Choice of the oldest turns to drop from a context so that the remaining turns fit. Pure functions."""

from collections.abc import Sequence

from core.wire import Item

_CALL_TYPES = frozenset({"function_call", "custom_tool_call"})
_OUTPUT_TYPES = frozenset({"function_call_output", "custom_tool_call_output"})
_PINNED_ROLES = frozenset({"system", "developer"})
# Safety factor for an estimated target size, because the ratio of characters to tokens varies.
_SAFETY_FACTOR = 0.95


def cuts(context: Sequence[Item]) -> list[int]:
    """Return the positions at which a context may begin instead of at 0, in ascending order.

    The item at each position is a user message, a question, so that only complete turns are dropped. A turn is a
    question and all items up to the next question. Each cut drops more items than the previous cut. No cut drops the
    last question or separates a tool call from its output.
    """
    positions: list[int] = []
    output_positions = _last_outputs(context)
    last_blocked_position = 0  # a cut at or before this position would separate a tool call from its output
    drops_items = False  # whether a cut here would drop items that the previous cut keeps
    for position, item in enumerate(context):
        is_question = item["type"] == "message" and item["role"] == "user"
        if drops_items and is_question and last_blocked_position < position:
            positions.append(position)
            drops_items = False
        last_blocked_position = max(last_blocked_position, output_positions.get(position, 0))
        drops_items = drops_items or not _is_pinned(item)
    return positions


def _last_outputs(context: Sequence[Item]) -> dict[int, int]:
    """Return the position of the last output of each tool call, by the position of the call."""
    outputs: dict[int, int] = {}
    calls: dict[tuple[str, str], int] = {}
    for position, item in enumerate(context):
        if item["type"] in _CALL_TYPES:
            calls[f"{item['type']}_output", item["call_id"]] = position
        elif item["type"] in _OUTPUT_TYPES and (item["type"], item["call_id"]) in calls:
            outputs[calls[item["type"], item["call_id"]]] = position
    return outputs


def cut(context: Sequence[Item], position: int) -> tuple[list[Item], list[str]]:
    """Drop the items before `position` except system and developer messages.

    Args:
        position: 0, or a position from `cuts`.

    Returns:
        The remaining context, and the IDs of the dropped items.
    """
    earlier_items = context[:position]
    pinned_items = [item for item in earlier_items if _is_pinned(item)]
    return [*pinned_items, *context[position:]], [item["id"] for item in earlier_items if not _is_pinned(item)]


def _is_pinned(item: Item) -> bool:
    return item["type"] == "message" and item["role"] in _PINNED_ROLES


def next_cut(
    sizes: Sequence[int], current_index: int, try_count: int, *, tokens: int | None = None, limit: int | None = None
) -> int | None:
    """Return the index of the cut to try next, after a context that was still too long; None if there is none.

    If the model server reported token counts, the result is the first cut after which the context is expected to fit,
    or else the last cut. Otherwise the result is one step further, and the step doubles with every try.

    Args:
        sizes: size of the context after each cut, in any unit, in descending order; the first is the entire context.
        current_index: index in `sizes` of the cut that left a context that was too long.
        try_count: number of contexts that were too long, including the entire context.
        tokens: token count of the last context that was too long.
        limit: maximum token count.
    """
    candidates = range(current_index + 1, len(sizes))
    if not candidates:
        return None
    if tokens and limit and tokens > limit:
        target = sizes[current_index] * limit / tokens * _SAFETY_FACTOR
        for index in candidates:
            if sizes[index] <= target:
                return index
        return candidates[-1]
    return min(current_index + (1 << (try_count - 1)), candidates[-1])

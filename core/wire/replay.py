"""Rebuilds the event log of an ended response from its final object. Pure functions; no clock, no I/O."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from core.wire import item_events, transcript
from core.wire.item_events import PARTS, Event, Item, Part, PartPath

_Document = dict[str, Any]
_CALLS = frozenset({"function_call", "custom_tool_call"})


def rebuild(first: _Document, final: _Document, n: int) -> list[Event]:
    """A valid event log that folds to the final output and is as long as the original log.

    The deltas contain the text of the final object, split so that there are `n` events whenever there is text to split.
    The event that ends the response then has its original sequence number.

    Args:
        first: the object at the creation of the response.
        final: the object at its end.
        n: number of events in the original log.
    """
    opening = _opening(first, final, n)
    parts = [part for _, _, part in _parts(final["output"])]
    fixed = len(opening) + 1 + sum(len(_item(item, index, [])) for index, item in enumerate(final["output"]))
    counts = _counts([len(_text(part)) for part in parts], n - fixed)
    deltas = iter(counts)
    events = opening
    for index, item in enumerate(final["output"]):
        own = [next(deltas) for _ in _parts_of(item, index)]
        events += _item(item, index, own)
    return transcript.number([*events, transcript.lifecycle(final)], 0)


def resumed(events: Sequence[Event], n: int, after: int) -> list[Event]:
    """The part of a rebuilt log for a client that has the original log up to sequence number `after`.

    Both logs are the same up to the first item. After that, rebuilt deltas could repeat text that the client has or
    skip text that it lacks, so the result is only the event that ends the response, which contains the complete object,
    with the last sequence number.
    """
    if after >= n - 1:
        return []
    opening = sum(event["type"] in _OPENING for event in events[:3])
    if after < opening:
        return list(events[max(after + 1, 0) :])
    return [events[-1] | {"sequence_number": max(n - 1, after + 1)}]


_OPENING = frozenset({"response.created", "response.queued", "response.in_progress"})


def _opening(first: _Document, final: _Document, n: int) -> list[Event]:
    opening: list[Event] = [{"type": "response.created", "response": first}]
    if final["background"]:
        opening.append(transcript.lifecycle(first))
    # If the response never ran, the event that ends it follows immediately.
    if final["output"] or n > len(opening) + 1:
        opening.append(transcript.lifecycle(first | {"status": "in_progress"}))
    return opening


def _counts(lengths: Sequence[int], deltas: int) -> list[int]:
    """The number of deltas for each text: in proportion to its length, and at least one unless it is empty."""
    least = [int(length > 0) for length in lengths]
    more, total = max(0, deltas - sum(least)), sum(lengths)
    if not total:
        return [more if index == 0 else 0 for index in range(len(lengths))]
    counts, placed = [], 0
    for length, one in zip(lengths, least, strict=True):
        share = more * (placed + length) // total - more * placed // total
        counts.append(one + share)
        placed += length
    return counts


def _parts(output: Sequence[Item]) -> Iterator[tuple[Item, PartPath, Part]]:
    for index, item in enumerate(output):
        for place, part in _parts_of(item, index):
            yield item, place, part


def _parts_of(item: Item, index: int) -> Iterator[tuple[PartPath, Part]]:
    for listed in ("content", "summary"):
        for number, part in enumerate(item.get(listed) or ()):
            kind = PARTS.get(part["type"])
            if kind is not None and (kind.item, kind.listed) == (item["type"], listed):
                yield PartPath(item["id"], index, part["type"], number), part


def _text(part: Part) -> str:
    text: str = part[PARTS[part["type"]].text]
    return text


def _item(item: Item, index: int, deltas: Sequence[int]) -> list[Event]:
    """The events of an item, each of its texts split into the given number of deltas; none if `deltas` is empty."""
    if item["type"] in _CALLS:
        return item_events.tool_call(item, index)
    bare = item | {name: [] for name in ("content", "summary") if name in item} | {"status": "in_progress"}
    bare.pop("encrypted_content", None)
    events = [item_events.open_item(bare, index)]
    for number, (place, part) in enumerate(_parts_of(item, index)):
        events += _part(place, part, deltas[number] if deltas else 0)
    done = {"type": "response.output_item.done", "output_index": index, "item": deepcopy(item)}
    return [*events, done]


def _part(place: PartPath, part: Part, deltas: int) -> list[Event]:
    annotations = part.get("annotations") or ()
    return [
        item_events.open_part(place),
        *_deltas(place, part, deltas),
        *[item_events.annotation(place, number, one) for number, one in enumerate(annotations)],
        *item_events.close_part(place, part),
    ]


def _deltas(place: PartPath, part: Part, n: int) -> list[Event]:
    text = _text(part)
    ends = [len(text) * number // n for number in range(1, n + 1)]
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    own = _logprobs(part.get("logprobs") or (), ends)
    return [item_events.delta(place, piece, logprobs) for piece, logprobs in zip(pieces, own, strict=True)]


def _logprobs(logprobs: Sequence[dict[str, Any]], ends: Sequence[int]) -> list[list[dict[str, Any]]]:
    """The log probabilities of each piece: those of the tokens that begin in it. The last piece also gets the rest."""
    own: list[list[dict[str, Any]]] = [[] for _ in ends]
    place = at = 0
    for one in logprobs:
        while place < len(ends) - 1 and at >= ends[place]:
            place += 1
        if own:
            own[place].append(one)
        at += len(one["token"])
    return own

"""Reconstruction of the event log of an ended response from its final object. Pure functions without clock or I/O."""

from collections.abc import Iterator, Sequence
from copy import deepcopy

from core.jsonio import JsonObject
from core.wire import Document, Event, Item, Part, item_events, transcript
from core.wire.item_events import PARTS, PartPath

_CALL_TYPES = frozenset({"function_call", "custom_tool_call"})
_OPENING_TYPES = frozenset({"response.created", "response.queued", "response.in_progress"})


def rebuild(first_document: Document, final_document: Document, event_count: int) -> list[Event]:
    """Build a valid event log that folds to the final output and is as long as the original log.

    The deltas contain the text of the final object, split so that the log has `event_count` events if there is text to
    split. The event that ends the response then has its original sequence number.

    Args:
        first_document: the object at the creation of the response.
        final_document: the object at its end.
        event_count: number of events in the original log.
    """
    events = _opening_events(first_document, final_document, event_count)
    output: list[Item] = final_document["output"]
    text_lengths = [len(_text(part)) for index, item in enumerate(output) for _, part in _item_parts(item, index)]
    item_event_count = sum(len(_item_events(item, index, [])) for index, item in enumerate(output))
    count_without_deltas = len(events) + item_event_count + 1
    delta_counts = iter(_delta_counts(text_lengths, event_count - count_without_deltas))
    for index, item in enumerate(output):
        item_delta_counts = [next(delta_counts) for _ in _item_parts(item, index)]
        events += _item_events(item, index, item_delta_counts)
    return transcript.number([*events, transcript.lifecycle(final_document)], 0)


def remaining_events(events: Sequence[Event], event_count: int, last_received_seq: int) -> list[Event]:
    """Return the part of a rebuilt log for a client that has the original log up to `last_received_seq`.

    Both logs are the same up to the first item. After that, rebuilt deltas could repeat or skip text of the original
    deltas, so the client gets only the event that ends the response, with the last sequence number. That event contains
    the complete object.

    Args:
        events: the rebuilt log.
        event_count: number of events in the original log.
        last_received_seq: the last sequence number that the client received; -1 if it received none.
    """
    if last_received_seq >= event_count - 1:
        return []
    opening_count = sum(event["type"] in _OPENING_TYPES for event in events[:3])
    if last_received_seq < opening_count:
        return list(events[max(last_received_seq + 1, 0) :])
    return [events[-1] | {"sequence_number": event_count - 1}]


def _opening_events(first_document: Document, final_document: Document, event_count: int) -> list[Event]:
    events: list[Event] = [{"type": "response.created", "response": first_document}]
    if final_document["background"]:
        events.append(transcript.lifecycle(first_document))
    # If the response never ran, the event that ends it follows immediately.
    if final_document["output"] or event_count > len(events) + 1:
        events.append(transcript.lifecycle(first_document | {"status": "in_progress"}))
    return events


def _delta_counts(text_lengths: Sequence[int], delta_count: int) -> list[int]:
    """Return the number of deltas for each text: in proportion to its length, and at least one unless it is empty.

    If all texts are empty, the first one gets all deltas.
    """
    minimums = [int(length > 0) for length in text_lengths]
    extra_count, total_length = max(0, delta_count - sum(minimums)), sum(text_lengths)
    if not total_length:
        return [extra_count if index == 0 else 0 for index in range(len(text_lengths))]
    counts, offset = [], 0
    for length, minimum in zip(text_lengths, minimums, strict=True):
        share = extra_count * (offset + length) // total_length - extra_count * offset // total_length
        counts.append(minimum + share)
        offset += length
    return counts


def _item_parts(item: Item, index: int) -> Iterator[tuple[PartPath, Part]]:
    """Yield the parts of an item that have events, each with its path; `index` is the item's position in the output."""
    for field in ("content", "summary"):
        for position, part in enumerate(item.get(field) or ()):
            kind = PARTS.get(part["type"])
            if kind is not None and (kind.item_type, kind.list_field) == (item["type"], field):
                yield PartPath(item["id"], index, part["type"], position), part


def _text(part: Part) -> str:
    text: str = part[PARTS[part["type"]].text_field]
    return text


def _item_events(item: Item, index: int, delta_counts: Sequence[int]) -> list[Event]:
    """Return the events of an item with its final content.

    Args:
        index: position of the item in the output.
        delta_counts: the number of deltas of each part; if empty, no part has deltas.
    """
    if item["type"] in _CALL_TYPES:
        return item_events.tool_call(item, index)
    empty_item = item | {name: [] for name in ("content", "summary") if name in item} | {"status": "in_progress"}
    empty_item.pop("encrypted_content", None)
    events = [item_events.open_item(empty_item, index)]
    for position, (path, part) in enumerate(_item_parts(item, index)):
        events += _part_events(path, part, delta_counts[position] if delta_counts else 0)
    item_done_event = {"type": "response.output_item.done", "output_index": index, "item": deepcopy(item)}
    return [*events, item_done_event]


def _part_events(path: PartPath, part: Part, delta_count: int) -> list[Event]:
    annotations = part.get("annotations") or ()
    return [
        item_events.open_part(path),
        *_delta_events(path, part, delta_count),
        *[item_events.annotation(path, index, annotation) for index, annotation in enumerate(annotations)],
        *item_events.close_part(path, part),
    ]


def _delta_events(path: PartPath, part: Part, delta_count: int) -> list[Event]:
    text = _text(part)
    ends = [len(text) * number // delta_count for number in range(1, delta_count + 1)]
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    piece_logprobs = _split_logprobs(part.get("logprobs") or (), ends)
    return [item_events.delta(path, piece, logprobs) for piece, logprobs in zip(pieces, piece_logprobs, strict=True)]


def _split_logprobs(logprobs: Sequence[JsonObject], ends: Sequence[int]) -> list[list[JsonObject]]:
    """Return the log probabilities of each piece of a text: those of the tokens that begin in the piece.

    The last piece also gets the log probabilities of tokens that begin after the end of the text.

    Args:
        ends: the offset at which each piece ends.
    """
    piece_logprobs: list[list[JsonObject]] = [[] for _ in ends]
    piece_index = offset = 0
    for logprob in logprobs:
        while piece_index < len(ends) - 1 and offset >= ends[piece_index]:
            piece_index += 1
        if piece_logprobs:
            piece_logprobs[piece_index].append(logprob)
        offset += len(logprob["token"])
    return piece_logprobs

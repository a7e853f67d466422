"""The events that open, extend and close an output item, in the order the API requires. Pure functions.

Source: the order of openai-openapi's streaming reference; the event union of the `openai` client.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
Item = dict[str, Any]
Part = dict[str, Any]


@dataclass(frozen=True)
class PartKind:
    """The wire format of one type of content part.

    Args:
        item: type of the item that contains the part.
        listed: field of the item that lists such parts.
        text: field of the part that delta events append to.
        deltas: name used in the types of its delta and done events.
        part: name used in the types of the events that open and close it.
        empty: fields of a newly opened part, besides `type`.
    """

    item: str
    listed: str
    text: str
    deltas: str
    part: str
    empty: Part

    @property
    def index(self) -> str:
        """The event field that holds the part's position in the list."""
        return f"{self.listed}_index"


PARTS = {
    "output_text": PartKind(
        "message",
        "content",
        "text",
        "output_text",
        "content_part",
        {"text": "", "annotations": [], "logprobs": []},
    ),
    "refusal": PartKind("message", "content", "refusal", "refusal", "content_part", {"refusal": ""}),
    "reasoning_text": PartKind("reasoning", "content", "text", "reasoning_text", "content_part", {"text": ""}),
    "summary_text": PartKind(
        "reasoning", "summary", "text", "reasoning_summary_text", "reasoning_summary_part", {"text": ""}
    ),
}

_TOOL_CALLS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}


@dataclass(frozen=True)
class PartPath:
    """The position of a part in an output.

    Args:
        part: type of the part.
        index: position in the item's list.
    """

    item_id: str
    output_index: int
    part: str
    index: int

    def fields(self) -> Event:
        """The event fields that identify the part."""
        return {"item_id": self.item_id, "output_index": self.output_index, PARTS[self.part].index: self.index}


def empty_item(item_type: str, item_id: str) -> Item:
    """A new `message` or `reasoning` item without content."""
    if item_type == "message":
        return {"type": "message", "id": item_id, "status": "in_progress", "role": "assistant", "content": []}
    return {"type": "reasoning", "id": item_id, "status": "in_progress", "summary": [], "content": []}


def open_item(item: Item, output_index: int) -> Event:
    """The event that adds an item to the output."""
    return {"type": "response.output_item.added", "output_index": output_index, "item": deepcopy(item)}


def open_part(place: PartPath) -> Event:
    """The event that adds an empty part to an item."""
    kind = PARTS[place.part]
    part = {"type": place.part} | deepcopy(kind.empty)
    return {"type": f"response.{kind.part}.added", **place.fields(), "part": part}


def delta(place: PartPath, text: str, logprobs: Sequence[dict[str, Any]] = ()) -> Event:
    """The event that appends `text` to a part."""
    added = {"type": f"response.{PARTS[place.part].deltas}.delta", **place.fields(), "delta": text}
    return added | {"logprobs": list(logprobs)} if place.part == "output_text" else added


def annotation(place: PartPath, annotation_index: int, added: dict[str, Any]) -> Event:
    """The event that adds an annotation to an output text."""
    return {
        "type": "response.output_text.annotation.added",
        **place.fields(),
        "annotation_index": annotation_index,
        "annotation": added,
    }


def close_part(place: PartPath, part: Part) -> list[Event]:
    """The events that close an open part. `part` must hold its complete text."""
    kind = PARTS[place.part]
    done = {"type": f"response.{kind.deltas}.done", **place.fields(), kind.text: part[kind.text]}
    if place.part == "output_text":
        done["logprobs"] = deepcopy(part["logprobs"])
    return [done, {"type": f"response.{kind.part}.done", **place.fields(), "part": deepcopy(part)}]


def close_item(item: Item, output_index: int, open_parts: Iterable[PartPath], status: str) -> list[Event]:
    """Set the status of an open item to `status`; return the events that close its open parts and the item."""
    closing: list[Event] = []
    if item["type"] in _TOOL_CALLS:
        closing.append(_tool_done(item, output_index))
    for place in open_parts:
        closing += close_part(place, item[PARTS[place.part].listed][place.index])
    item["status"] = status
    closing.append({"type": "response.output_item.done", "output_index": output_index, "item": deepcopy(item)})
    return closing


def tool_call(item: Item, output_index: int) -> list[Event]:
    """The events of a complete tool call. A tool call is not streamed in parts: it has no events until it is complete.

    Args:
        item: a completed `function_call` or `custom_tool_call`.
    """
    words, key = _TOOL_CALLS[item["type"]]
    place = {"item_id": item["id"], "output_index": output_index}
    return [
        open_item(item | {key: "", "status": "in_progress"}, output_index),
        {"type": f"response.{words}.delta", **place, "delta": item[key]},
        _tool_done(item, output_index),
        {"type": "response.output_item.done", "output_index": output_index, "item": item},
    ]


def _tool_done(item: Item, output_index: int) -> Event:
    words, key = _TOOL_CALLS[item["type"]]
    done = {
        "type": f"response.{words}.done",
        "item_id": item["id"],
        "output_index": output_index,
        key: item[key],
    }
    # OpenAI's schema requires `name`, although the type in its client does not have it.
    return done | {"name": item["name"]} if item["type"] == "function_call" else done

"""The events that open, extend and close an output item, in the order the API requires. Pure functions.

Sources: openai-openapi's streaming reference for the order, and the event union of the `openai` client for the fields.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from core.jsonio import JsonObject
from core.wire import Event, Item, Part


@dataclass(frozen=True)
class PartKind:
    """The wire format of one type of content part.

    Args:
        item_type: type of the item that contains the part.
        list_field: field of the item that contains the list of these parts.
        text_field: field of the part to which delta events append.
        text_event: `<name>` of the text events `response.<name>.delta` and `response.<name>.done`.
        part_event: `<name>` of the part events `response.<name>.added` and `response.<name>.done`.
        initial_fields: fields of a newly opened part, besides `type`.
    """

    item_type: str
    list_field: str
    text_field: str
    text_event: str
    part_event: str
    initial_fields: Part

    @property
    def index(self) -> str:
        """The event field that holds the part's position in the list."""
        return self.list_field + "_index"


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

# For each type of tool call: `<name>` of its events `response.<name>.delta` and `response.<name>.done`, and the field
# of the item that contains the input.
_TOOL_CALLS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}


@dataclass(frozen=True)
class PartPath:
    """The position of a part in an output.

    Args:
        part_type: type of the part.
        index: position in the item's list.
    """

    item_id: str
    output_index: int
    part_type: str
    index: int

    def fields(self) -> Event:
        """Return the event fields that identify the part."""
        return {"item_id": self.item_id, "output_index": self.output_index, PARTS[self.part_type].index: self.index}


def empty_item(item_type: str, item_id: str) -> Item:
    """Return a new `message` or `reasoning` item without content."""
    if item_type == "message":
        return {"type": "message", "id": item_id, "status": "in_progress", "role": "assistant", "content": []}
    return {"type": "reasoning", "id": item_id, "status": "in_progress", "summary": [], "content": []}


def open_item(item: Item, output_index: int) -> Event:
    """Return the event that adds an item to the output."""
    return {"type": "response.output_item.added", "output_index": output_index, "item": deepcopy(item)}


def open_part(path: PartPath) -> Event:
    """Return the event that adds an empty part to an item."""
    kind = PARTS[path.part_type]
    part = {"type": path.part_type} | deepcopy(kind.initial_fields)
    return {"type": f"response.{kind.part_event}.added", **path.fields(), "part": part}


def delta(path: PartPath, text: str, logprobs: Sequence[JsonObject] = ()) -> Event:
    """Return the event that appends `text` to a part."""
    event = {"type": f"response.{PARTS[path.part_type].text_event}.delta", **path.fields(), "delta": text}
    return event | {"logprobs": list(logprobs)} if path.part_type == "output_text" else event


def annotation(path: PartPath, annotation_index: int, value: JsonObject) -> Event:
    """Return the event that adds an annotation to an output text."""
    return {
        "type": "response.output_text.annotation.added",
        **path.fields(),
        "annotation_index": annotation_index,
        "annotation": value,
    }


def close_part(path: PartPath, part: Part) -> list[Event]:
    """Return the events that close an open part; `part` contains its complete text."""
    kind = PARTS[path.part_type]
    text_done_event = {
        "type": f"response.{kind.text_event}.done",
        **path.fields(),
        kind.text_field: part[kind.text_field],
    }
    if path.part_type == "output_text":
        text_done_event["logprobs"] = deepcopy(part["logprobs"])
    return [text_done_event, {"type": f"response.{kind.part_event}.done", **path.fields(), "part": deepcopy(part)}]


def close_item(item: Item, output_index: int, open_parts: Iterable[PartPath], status: str) -> list[Event]:
    """Set the status of an open item to `status`; return the events that close its open parts and the item."""
    events: list[Event] = []
    if item["type"] in _TOOL_CALLS:
        events.append(_tool_done_event(item, output_index))
    for path in open_parts:
        events += close_part(path, item[PARTS[path.part_type].list_field][path.index])
    item["status"] = status
    events.append({"type": "response.output_item.done", "output_index": output_index, "item": deepcopy(item)})
    return events


def tool_call(item: Item, output_index: int) -> list[Event]:
    """Return the events of a complete tool call. They are sent together, because a tool call is not streamed in parts.

    Args:
        item: a completed `function_call` or `custom_tool_call`.
    """
    event_name, input_field = _TOOL_CALLS[item["type"]]
    position = {"item_id": item["id"], "output_index": output_index}
    return [
        open_item(item | {input_field: "", "status": "in_progress"}, output_index),
        {"type": f"response.{event_name}.delta", **position, "delta": item[input_field]},
        _tool_done_event(item, output_index),
        {"type": "response.output_item.done", "output_index": output_index, "item": item},
    ]


def _tool_done_event(item: Item, output_index: int) -> Event:
    event_name, input_field = _TOOL_CALLS[item["type"]]
    event = {
        "type": f"response.{event_name}.done",
        "item_id": item["id"],
        "output_index": output_index,
        input_field: item[input_field],
    }
    # OpenAI's schema requires `name`, although its client's type for the event lacks the field.
    return event | {"name": item["name"]} if item["type"] == "function_call" else event

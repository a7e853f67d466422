"""The event log of a response and the output it adds up to. Pure functions; no clock, no I/O."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
Item = dict[str, Any]


@dataclass
class Transcript:
    """What a log adds up to.

    Attributes:
        output: the items in order; open ones with what they hold so far.
        open: output indexes of items that were added and not yet done.
    """

    output: list[Item] = field(default_factory=list)
    open: set[int] = field(default_factory=set)


def fold(events: Iterable[Event]) -> Transcript:
    """Add up a log, from its first event on."""
    transcript = Transcript()
    pieces: dict[tuple[int, int], list[str]] = {}
    for event in events:
        _apply(transcript, pieces, event)
    # Joined once: adding deltas one by one would copy a long text once per delta.
    for (output_index, content_index), deltas in pieces.items():
        transcript.output[output_index]["content"][content_index]["text"] += "".join(deltas)
    return transcript


def _apply(transcript: Transcript, pieces: dict[tuple[int, int], list[str]], event: Event) -> None:
    match event["type"]:
        case "response.output_item.added":
            transcript.output.append(deepcopy(event["item"]))
            transcript.open.add(event["output_index"])
        case "response.content_part.added":
            transcript.output[event["output_index"]]["content"].append(deepcopy(event["part"]))
        case "response.output_text.delta":
            pieces.setdefault((event["output_index"], event["content_index"]), []).append(event["delta"])
        case "response.output_item.done":
            index = event["output_index"]
            transcript.output[index] = deepcopy(event["item"])
            transcript.open.discard(index)
            for place in [place for place in pieces if place[0] == index]:
                del pieces[place]


def close_items(transcript: Transcript, status: str) -> list[Event]:
    """The events that close every open item with `status`, in the legal order; the transcript is updated.

    Args:
        status: `completed`, or `incomplete` where the end came before the item's own.
    """
    closing: list[Event] = []
    for index in sorted(transcript.open):
        closing += close_message(transcript.output[index], index, status)
    transcript.open.clear()
    return closing


def close_message(item: Item, output_index: int, status: str) -> list[Event]:
    """The events that close one open message, which gets `status`."""
    closing: list[Event] = []
    for content_index, part in enumerate(item["content"]):
        closing += _close_part(item["id"], output_index, content_index, part)
    item["status"] = status
    closing.append({"type": "response.output_item.done", "output_index": output_index, "item": deepcopy(item)})
    return closing


def _close_part(item_id: str, output_index: int, content_index: int, part: dict[str, Any]) -> Iterator[Event]:
    place = {"item_id": item_id, "output_index": output_index, "content_index": content_index}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": part["logprobs"]}
    yield {"type": "response.content_part.done", **place, "part": deepcopy(part)}


def message(item_id: str, text: str, status: str) -> Item:
    """An assistant's message of one text."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": [part]}


def open_message(item_id: str, output_index: int) -> list[Event]:
    """The events that open an assistant's message with one empty text."""
    item = message(item_id, "", "in_progress")
    (part,) = item["content"]
    return [
        {"type": "response.output_item.added", "output_index": output_index, "item": item | {"content": []}},
        {
            "type": "response.content_part.added",
            "item_id": item_id,
            "output_index": output_index,
            "content_index": 0,
            "part": part,
        },
    ]


def tool_call(item: Item, output_index: int) -> list[Event]:
    """The events of a whole tool call: nothing of one is shown before it is known to be whole.

    Args:
        item: `function_call` or `custom_tool_call`, completed.
    """
    words, key = _TOOL_CALLS[item["type"]]
    place = {"item_id": item["id"], "output_index": output_index}
    done = {"type": f"response.{words}.done", **place, key: item[key]}
    if item["type"] == "function_call":
        done["name"] = item["name"]
    return [
        {
            "type": "response.output_item.added",
            "output_index": output_index,
            "item": item | {key: "", "status": "in_progress"},
        },
        {"type": f"response.{words}.delta", **place, "delta": item[key]},
        done,
        {"type": "response.output_item.done", "output_index": output_index, "item": item},
    ]


_TOOL_CALLS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}


def text_delta(item_id: str, output_index: int, content_index: int, delta: str) -> Event:
    """The event that adds `delta` to a text."""
    return {
        "type": "response.output_text.delta",
        "item_id": item_id,
        "output_index": output_index,
        "content_index": content_index,
        "delta": delta,
        "logprobs": [],
    }


def lifecycle(document: dict[str, Any]) -> Event:
    """The event that announces a document's status.

    A cancelled response's stream ends with `response.failed` whose response says `cancelled`: neither
    OpenAI's nor the Open Responses event union has a `response.cancelled`.
    """
    status = document["status"]
    return {"type": f"response.{'failed' if status == 'cancelled' else status}", "response": document}


def number(events: Iterable[Event], first_seq: int) -> list[Event]:
    """`events` with their sequence numbers, from `first_seq` on."""
    return [
        {"type": event["type"], "sequence_number": sequence_number, **event}
        for sequence_number, event in enumerate(events, first_seq)
    ]

"""The event log of a response and the output it adds up to. Pure functions; no clock, no I/O."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from core.wire import item_events
from core.wire.item_events import PARTS, Event, Item, PartPath

_PART_BY_DELTA = {f"response.{kind.deltas}.delta": name for name, kind in PARTS.items()}
_PART_ADDED = frozenset(f"response.{kind.part}.added" for kind in PARTS.values())
_PART_DONE = frozenset(f"response.{kind.part}.done" for kind in PARTS.values())
_TOOL_DELTAS = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


@dataclass
class Transcript:
    """What a log adds up to.

    Attributes:
        output: the items in order; open ones with what they hold so far.
        open: by output index, the items that were added and not yet done, and their open parts.
    """

    output: list[Item] = field(default_factory=list)
    open: dict[int, list[PartPath]] = field(default_factory=dict)


class Fold:
    """Adds up a log, event by event, from its first on."""

    def __init__(self, partial_output: Transcript | None = None) -> None:
        self._transcript = deepcopy(partial_output) if partial_output else Transcript()
        # Joined when they are asked for: adding deltas one by one would copy a long text once per delta.
        self._pieces: dict[PartPath, list[str]] = {}

    def add(self, event: Event) -> None:
        """Add one event."""
        kind = event["type"]
        if kind in _PART_BY_DELTA:
            place = _place(event, _PART_BY_DELTA[kind])
            self.grow(place, event["delta"], event.get("logprobs", ()))
        elif kind in _TOOL_DELTAS:
            self._transcript.output[event["output_index"]][_TOOL_DELTAS[kind]] += event["delta"]
        elif kind in _PART_ADDED:
            place = _place(event, event["part"]["type"])
            self._parts(place).append(deepcopy(event["part"]))
            self._transcript.open[place.output_index].append(place)
        elif kind in _PART_DONE:
            place = _place(event, event["part"]["type"])
            self._parts(place)[place.index] = deepcopy(event["part"])
            self._transcript.open[place.output_index].remove(place)
            self._pieces.pop(place, None)
        elif kind == "response.output_text.annotation.added":
            part = self._parts(_place(event, "output_text"))[event["content_index"]]
            part["annotations"].append(deepcopy(event["annotation"]))
        elif kind == "response.output_item.added":
            self._transcript.output.append(deepcopy(event["item"]))
            self._transcript.open[event["output_index"]] = []
        elif kind == "response.output_item.done":
            index = event["output_index"]
            self._transcript.output[index] = deepcopy(event["item"])
            for place in self._transcript.open.pop(index):
                self._pieces.pop(place, None)

    def grow(self, place: PartPath, text: str, logprobs: Iterable[dict[str, Any]] = ()) -> None:
        """Add to an open part, as a delta event does."""
        self._pieces.setdefault(place, []).append(text)
        if place.part == "output_text":
            self._parts(place)[place.index]["logprobs"].extend(logprobs)

    def transcript(self) -> Transcript:
        """What the events so far add up to; it grows with the next ones."""
        for place, deltas in self._pieces.items():
            self._parts(place)[place.index][PARTS[place.part].text] += "".join(deltas)
        self._pieces.clear()
        return self._transcript

    def _parts(self, place: PartPath) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = self._transcript.output[place.output_index][PARTS[place.part].listed]
        return parts


def _place(event: Event, part: str) -> PartPath:
    return PartPath(event["item_id"], event["output_index"], part, event[PARTS[part].index])


def fold(events: Iterable[Event]) -> Transcript:
    """Add up a log, from its first event on."""
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding.transcript()


def close_items(transcript: Transcript, status: str) -> list[Event]:
    """The events that close every open item with `status`, in the legal order; the transcript is updated.

    Args:
        status: `completed`, or `incomplete` where the end came before the item's own.
    """
    closing: list[Event] = []
    for index in sorted(transcript.open):
        closing += item_events.close_item(transcript.output[index], index, transcript.open[index], status)
    transcript.open.clear()
    return closing


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

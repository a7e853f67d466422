"""Folds the event log of a response into its output. Pure functions; no clock, no I/O."""

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
    """The result of folding an event log.

    Attributes:
        output: the items in order; open items have their content so far.
        open: the open parts of each item that was added and is not done, by output index.
    """

    output: list[Item] = field(default_factory=list)
    open: dict[int, list[PartPath]] = field(default_factory=dict)


class Fold:
    """Folds a log event by event, from its first event or from the transcript of the events before."""

    def __init__(self, partial_output: Transcript | None = None) -> None:
        self._transcript = deepcopy(partial_output) if partial_output else Transcript()
        # Joined on demand: appending deltas one by one would copy a long text once per delta.
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
        """Append text to an open part, as a delta event does."""
        self._pieces.setdefault(place, []).append(text)
        if place.part == "output_text":
            self._parts(place)[place.index]["logprobs"].extend(logprobs)

    def transcript(self) -> Transcript:
        """The transcript of the events so far. Later events change the returned object."""
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
    """Fold a log, from its first event."""
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding.transcript()


def close_items(transcript: Transcript, status: str) -> list[Event]:
    """Close every open item of a transcript with `status`; return the events in the order the API requires.

    Args:
        status: `completed`, or `incomplete` if the response ended before the item did.
    """
    closing: list[Event] = []
    for index in sorted(transcript.open):
        closing += item_events.close_item(transcript.output[index], index, transcript.open[index], status)
    transcript.open.clear()
    return closing


def lifecycle(document: dict[str, Any]) -> Event:
    """The event that announces a document's status.

    The stream of a cancelled response ends with `response.failed`, whose response has the status `cancelled`: neither
    OpenAI's event union nor that of Open Responses has `response.cancelled`.
    """
    status = document["status"]
    return {"type": f"response.{'failed' if status == 'cancelled' else status}", "response": document}


def number(events: Iterable[Event], first_seq: int) -> list[Event]:
    """The events with sequence numbers, starting at `first_seq`."""
    return [
        {"type": event["type"], "sequence_number": sequence_number, **event}
        for sequence_number, event in enumerate(events, first_seq)
    ]

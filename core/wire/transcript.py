"""The fold of a response's event log into its output. No clock and no I/O."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field

from core.jsonio import JsonObject
from core.wire import Document, Event, Item, Part, item_events
from core.wire.item_events import PARTS, PartPath

_PART_TYPE_BY_DELTA = {f"response.{kind.text_event}.delta": name for name, kind in PARTS.items()}
_PART_ADDED_TYPES = frozenset(f"response.{kind.part_event}.added" for kind in PARTS.values())
_PART_DONE_TYPES = frozenset(f"response.{kind.part_event}.done" for kind in PARTS.values())
_TOOL_FIELD_BY_DELTA = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


@dataclass
class Transcript:
    """The result of folding an event log.

    Attributes:
        output: the items in order. An open item contains only the content of the events that have been folded.
        open: the open parts of each open item, by output index. An item is open from its `added` to its `done` event.
    """

    output: list[Item] = field(default_factory=list)
    open: dict[int, list[PartPath]] = field(default_factory=dict)


class Fold:
    """Folds a log event by event.

    Args:
        partial_output: the result of folding the earlier events of the log; None to begin with the first event.
    """

    def __init__(self, partial_output: Transcript | None = None) -> None:
        self._transcript = deepcopy(partial_output) if partial_output else Transcript()
        # Deltas are joined on demand: appending each to its text would copy a long text once per delta.
        self._pieces: dict[PartPath, list[str]] = {}

    def add(self, event: Event) -> None:
        """Add one event."""
        kind = event["type"]
        if kind in _PART_TYPE_BY_DELTA:
            path = _part_path(event, _PART_TYPE_BY_DELTA[kind])
            self.append_text(path, event["delta"], event.get("logprobs", ()))
        elif kind in _TOOL_FIELD_BY_DELTA:
            self._transcript.output[event["output_index"]][_TOOL_FIELD_BY_DELTA[kind]] += event["delta"]
        elif kind in _PART_ADDED_TYPES:
            path = _part_path(event, event["part"]["type"])
            self._parts(path).append(deepcopy(event["part"]))
            self._transcript.open[path.output_index].append(path)
        elif kind in _PART_DONE_TYPES:
            path = _part_path(event, event["part"]["type"])
            self._parts(path)[path.index] = deepcopy(event["part"])
            self._transcript.open[path.output_index].remove(path)
            self._pieces.pop(path, None)
        elif kind == "response.output_text.annotation.added":
            part = self._parts(_part_path(event, "output_text"))[event["content_index"]]
            part["annotations"].append(deepcopy(event["annotation"]))
        elif kind == "response.output_item.added":
            self._transcript.output.append(deepcopy(event["item"]))
            self._transcript.open[event["output_index"]] = []
        elif kind == "response.output_item.done":
            index = event["output_index"]
            self._transcript.output[index] = deepcopy(event["item"])
            for path in self._transcript.open.pop(index):
                self._pieces.pop(path, None)

    def append_text(self, path: PartPath, text: str, logprobs: Iterable[JsonObject] = ()) -> None:
        """Append text to an open part, as a delta event does."""
        self._pieces.setdefault(path, []).append(text)
        if path.part_type == "output_text":
            self._parts(path)[path.index]["logprobs"].extend(logprobs)

    def transcript(self) -> Transcript:
        """Return the transcript of all events so far. Events that are added later change the returned object."""
        for path, deltas in self._pieces.items():
            self._parts(path)[path.index][PARTS[path.part_type].text_field] += "".join(deltas)
        self._pieces.clear()
        return self._transcript

    def _parts(self, path: PartPath) -> list[Part]:
        parts: list[Part] = self._transcript.output[path.output_index][PARTS[path.part_type].list_field]
        return parts


def _part_path(event: Event, part_type: str) -> PartPath:
    return PartPath(event["item_id"], event["output_index"], part_type, event[PARTS[part_type].index])


def fold(events: Iterable[Event]) -> Transcript:
    """Fold a complete log."""
    log_fold = Fold()
    for event in events:
        log_fold.add(event)
    return log_fold.transcript()


def close_items(transcript: Transcript, status: str) -> list[Event]:
    """Close every open item of a transcript with `status`; return the events in the order the API requires.

    Args:
        status: `completed`, or `incomplete` if the response ended before its last item was complete.
    """
    events: list[Event] = []
    for index in sorted(transcript.open):
        events += item_events.close_item(transcript.output[index], index, transcript.open[index], status)
    transcript.open.clear()
    return events


def lifecycle(document: Document) -> Event:
    """Return the event that announces a document's status.

    The stream of a cancelled response ends with `response.failed`, which contains a response with the status
    `cancelled`: the event unions of OpenAI and of Open Responses have no event `response.cancelled`.
    """
    status = document["status"]
    return {"type": f"response.{'failed' if status == 'cancelled' else status}", "response": document}


def number(events: Iterable[Event], first_seq: int) -> list[Event]:
    """Number events consecutively, starting at `first_seq`."""
    return [
        {"type": event["type"], "sequence_number": sequence_number, **event}
        for sequence_number, event in enumerate(events, first_seq)
    ]

"""Converts the events of a Responses API stream into outputs."""

from collections.abc import Callable
from typing import Any

from core import errors, jsonio
from core.wire.request import CreateResponse
from worker.models import failures, text_details, usage
from worker.models.protocol import (
    Annotated,
    Finished,
    ItemDone,
    Output,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    Thinking,
    ToolCall,
)
from worker.models.tool_calls import CALLS_LIMIT
from worker.models.tools import CUSTOM_INPUT

_GROWS: dict[str, type[RefusalDelta | ReasoningDelta | SummaryDelta]] = {
    "response.refusal.delta": RefusalDelta,
    "response.reasoning_text.delta": ReasoningDelta,
    "response.reasoning.delta": ReasoningDelta,
    "response.reasoning_summary_text.delta": SummaryDelta,
    "response.reasoning_summary.delta": SummaryDelta,
}
_CUT = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}


class Events:
    """Reads the events of one answer; tool calls are returned at the end, when all of them are complete."""

    def __init__(self, request: CreateResponse) -> None:
        self.finished = False
        self.done = False
        self._wants_logprobs = request.wants_logprobs
        self._top = request.top_logprobs
        self._at: tuple[Any, ...] | None = None  # the server's indexes of the current part
        self._items = 0  # number of items read so far, complete or partial
        self._calls: dict[str, ToolCall] = {}  # returned at the end
        self._reason: str | None = None
        self._reads: dict[Any, Callable[[dict[str, Any]], list[Output]]] = {
            "response.output_text.delta": self._text,
            **dict.fromkeys(_GROWS, self._words),
            "response.output_text.annotation.added": self._annotated,
            "response.content_part.done": self._part_done,
            "response.reasoning_summary_part.done": self._part_done,
            "response.function_call_arguments.delta": self._hidden,
            "response.custom_tool_call_input.delta": self._hidden,
            "response.output_item.done": self._item_done,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._end,
            "response.cancelled": self._end,
            "response.error": self._failed,
            "error": self._failed,
        }

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one event completes. See `http.Reader`."""
        try:
            return self._read(event)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise errors.Refused("The model server sent something that is not a Responses API event.") from error

    def complete_outputs(self, answer: Any) -> list[Output]:
        """Return the outputs of a response that is a single JSON document. See `http.Reader`."""
        if isinstance(answer, dict) and isinstance(answer.get("output"), list):
            return self.read({"type": f"response.{answer.get('status') or 'completed'}", "response": answer})
        if isinstance(answer, dict) and (answer.get("error") or answer.get("detail") or answer.get("message")):
            raise failures.of_event(answer)
        raise errors.Refused("The model server sent something that is not a response.")

    def end(self, *, marked: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes. See `http.Reader`."""
        if not self.finished and not (marked and self._items):
            raise errors.Erred("The model server closed the connection before the end of its answer.")
        called = [] if self.finished else self._called()
        return [*called, Finished(self._reason)]

    def _read(self, event: Any) -> list[Output]:
        kind = event.get("type")
        reads = self._reads.get(kind)
        if reads is not None:
            return reads(event)
        if kind is None and event.get("error"):
            raise failures.of_event(event)
        return []  # other events, such as `added`, `done` and keep-alives, are not needed

    def _text(self, event: dict[str, Any]) -> list[Output]:
        logprobs = text_details.logprobs(event.get("logprobs"), self._top) if self._wants_logprobs else ()
        return self._grow(event, TextDelta(_string(event["delta"]), logprobs))

    def _words(self, event: dict[str, Any]) -> list[Output]:
        return self._grow(event, _GROWS[event["type"]](_string(event["delta"])))

    def _annotated(self, event: dict[str, Any]) -> list[Output]:
        note = text_details.annotation(event["annotation"])
        return [] if note is None else self._grow(event, Annotated(note))

    def _part_done(self, _event: dict[str, Any]) -> list[Output]:
        return [PartDone()]

    def _hidden(self, _event: dict[str, Any]) -> list[Output]:
        return [Thinking()]

    def _failed(self, event: dict[str, Any]) -> list[Output]:
        raise failures.of_event(event)

    def _grow(self, event: dict[str, Any], output: Output) -> list[Output]:
        """Add to a part; a change of the indexes closes the previous part or item if the server has not done so."""
        place = (event.get("output_index"), event.get("content_index"), event.get("summary_index"))
        before, self._at = self._at, place
        if before == place or before is None:
            self._items += before is None
            return [output]
        if before[0] == place[0]:
            return [PartDone(), output]
        self._items += 1
        return [ItemDone(), output]

    def _item_done(self, event: dict[str, Any]) -> list[Output]:
        item = event["item"]
        grown = self._at is not None and self._at[0] == event.get("output_index")
        self._at = None
        self._items += not grown
        return self._item(item, grown=grown)

    def _item(self, item: dict[str, Any], *, grown: bool) -> list[Output]:
        """Return the outputs of a complete item.

        Args:
            grown: whether its text has already been read in deltas.
        """
        match item.get("type"):
            case "function_call":
                return self._call(item, _string(item.get("arguments") or ""))
            case "custom_tool_call":
                # Use the form of a Chat Completions server, so that `OutputWriter` has to support only one form.
                return self._call(item, jsonio.dumps({CUSTOM_INPUT: _string(item.get("input") or "")}))
            case "message":
                return [*(() if grown else self._parts(item.get("content"))), ItemDone()]
            case "reasoning":
                parts = () if grown else (*self._parts(item.get("summary")), *self._parts(item.get("content")))
                return [*parts, ItemDone(item.get("encrypted_content") or None)]
        return []

    def _call(self, item: dict[str, Any], arguments: str) -> list[Output]:
        name = _string(item["name"])
        if not name:
            raise errors.Refused("The model server called a tool without naming it.")
        call_id = str(item.get("call_id") or item.get("id") or "")
        if call_id in self._calls:
            return []
        self._calls[call_id or f"the {len(self._calls)}th"] = ToolCall(call_id, name, arguments)
        if len(self._calls) > CALLS_LIMIT:
            raise errors.Refused("The model server made more tool calls than are supported.")
        return [Thinking()]

    def _called(self) -> list[Output]:
        """Return the calls at the end of a turn; empty if the turn was truncated, because calls may be missing."""
        return [] if self._reason in _CUT.values() else list(self._calls.values())

    def _parts(self, parts: Any) -> list[Output]:
        found: list[Output] = []
        for part in parts or ():
            match part.get("type"):
                case "output_text":
                    logprobs = text_details.logprobs(part.get("logprobs"), self._top) if self._wants_logprobs else ()
                    found.append(TextDelta(_string(part["text"]), logprobs))
                    notes = (text_details.annotation(note) for note in part.get("annotations") or ())
                    found += [Annotated(note) for note in notes if note is not None]
                case "refusal":
                    found.append(RefusalDelta(_string(part["refusal"])))
                case "reasoning_text":
                    found.append(ReasoningDelta(_string(part["text"])))
                case "summary_text":
                    found.append(SummaryDelta(_string(part["text"])))
                case _:
                    continue
            found.append(PartDone())
        return found

    def _end(self, event: dict[str, Any]) -> list[Output]:
        response = event["response"]
        self._reason = self._why(event["type"], response)
        # Some servers send only this event, or send no events for tool calls.
        missed = [item for item in response.get("output") or () if not self._items or item.get("call_id")]
        outputs = [output for item in missed for output in self._item(item, grown=False)] + self._called()
        self.finished = self.done = True
        used = usage.used(response.get("usage"), "input_tokens", "output_tokens")
        return outputs if used is None else [*outputs, used]

    def _why(self, kind: str, response: dict[str, Any]) -> str:
        """Return the reason of `Finished` for the end of a response; raise an error if the response failed."""
        if kind == "response.completed":
            return "stop"
        if kind == "response.incomplete":
            why = (response.get("incomplete_details") or {}).get("reason")
            if why in _CUT:
                return _CUT[why]
            raise errors.Refused(f"The model server aborted its answer: {str(why)[:100]!r}.")
        if kind == "response.cancelled":
            raise errors.Refused("The model server cancelled its answer.")
        raise failures.of_event(response.get("error") or "no reason given")


def _string(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError(found)
    return found

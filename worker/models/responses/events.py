"""Converts the events of a Responses API stream to outputs."""

from collections.abc import Callable
from typing import Any

from core import errors, jsonio
from core.jsonio import JsonObject
from core.wire.base import TEXT_LIMIT
from core.wire.request import CreateResponse
from worker.models import failures, text_details, usage
from worker.models.chat_completions.tool_calls import CALLS_LIMIT
from worker.models.protocol import (
    Annotation,
    AnswerEnd,
    HiddenProgress,
    ItemEnd,
    Output,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    ToolCall,
)
from worker.models.tools import CUSTOM_INPUT

_DELTA_TYPES: dict[str, type[RefusalDelta | ReasoningDelta | SummaryDelta]] = {
    "response.refusal.delta": RefusalDelta,
    "response.reasoning_text.delta": ReasoningDelta,
    "response.reasoning.delta": ReasoningDelta,
    "response.reasoning_summary_text.delta": SummaryDelta,
    "response.reasoning_summary.delta": SummaryDelta,
}
_INCOMPLETE_REASONS = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}


class EventReader:
    """Reads the events of one answer. Tool calls are returned at the end of the answer, when all are complete."""

    def __init__(self, request: CreateResponse) -> None:
        self.has_finish_reason = False
        self.is_complete = False
        self._wants_logprobs = request.includes_logprobs
        self._top_logprobs = request.top_logprobs
        self._part_indexes: tuple[Any, ...] | None = None  # output, content and summary index of the current part
        self._item_count = 0  # number of complete and partial items
        self._tool_calls_length = 0  # of all names and arguments
        self._tool_calls: dict[str, ToolCall] = {}  # by call ID, or by a unique text if there is none
        self._finish_reason: str | None = None
        self._handlers: dict[Any, Callable[[JsonObject], list[Output]]] = {
            "response.output_text.delta": self._read_text,
            **dict.fromkeys(_DELTA_TYPES, self._read_delta),
            "response.output_text.annotation.added": self._read_annotation,
            "response.content_part.done": self._end_part,
            "response.reasoning_summary_part.done": self._end_part,
            "response.function_call_arguments.delta": self._report_progress,
            "response.custom_tool_call_input.delta": self._report_progress,
            "response.output_item.done": self._end_item,
            "response.completed": self._end_response,
            "response.incomplete": self._end_response,
            "response.failed": self._end_response,
            "response.cancelled": self._end_response,
            "response.error": self._raise_error,
            "error": self._raise_error,
        }

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one event completes. See `Reader.read`."""
        try:
            return self._read_event(event)
        except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
            raise errors.PermanentError("The model server sent something that is not a Responses API event.") from error

    def read_document(self, answer: Any) -> list[Output]:
        """Return the outputs of a response that is a single JSON document. See `Reader.read_document`."""
        if isinstance(answer, dict) and isinstance(answer.get("output"), list):
            return self.read({"type": f"response.{answer.get('status') or 'completed'}", "response": answer})
        if isinstance(answer, dict) and (answer.get("error") or answer.get("detail") or answer.get("message")):
            raise failures.event_error(answer)
        raise errors.PermanentError("The model server sent something that is not a response.")

    def end(self, *, has_end_marker: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes. See `Reader.end`."""
        if not self.has_finish_reason and not (has_end_marker and self._item_count):
            raise errors.TransientError("The model server closed the connection before the end of its answer.")
        tool_calls = [] if self.has_finish_reason else self._complete_tool_calls()
        return [*tool_calls, AnswerEnd(self._finish_reason)]

    def _read_event(self, event: Any) -> list[Output]:
        event_type = event.get("type")
        handler = self._handlers.get(event_type)
        if handler is not None:
            return handler(event)
        if event_type is None and event.get("error"):
            raise failures.event_error(event)
        return []  # other events, such as `added`, `done` and keep-alives, are not needed

    def _read_text(self, event: JsonObject) -> list[Output]:
        logprobs = (
            text_details.convert_logprobs(event.get("logprobs"), self._top_logprobs) if self._wants_logprobs else ()
        )
        return self._add_to_part(event, TextDelta(_require_string(event["delta"]), logprobs))

    def _read_delta(self, event: JsonObject) -> list[Output]:
        return self._add_to_part(event, _DELTA_TYPES[event["type"]](_require_string(event["delta"])))

    def _read_annotation(self, event: JsonObject) -> list[Output]:
        annotation = text_details.convert_annotation(event["annotation"])
        return [] if annotation is None else self._add_to_part(event, Annotation(annotation))

    def _end_part(self, _event: JsonObject) -> list[Output]:
        return [PartEnd()]

    def _report_progress(self, _event: JsonObject) -> list[Output]:
        return [HiddenProgress()]

    def _raise_error(self, event: JsonObject) -> list[Output]:
        raise failures.event_error(event)

    def _add_to_part(self, event: JsonObject, output: Output) -> list[Output]:
        """Return the output, preceded by the end of the previous part or item if the server did not send one."""
        indexes = (event.get("output_index"), event.get("content_index"), event.get("summary_index"))
        previous_indexes, self._part_indexes = self._part_indexes, indexes
        if previous_indexes == indexes or previous_indexes is None:
            if previous_indexes is None:
                self._item_count += 1
            return [output]
        is_same_item = previous_indexes[0] == indexes[0]
        if is_same_item:
            return [PartEnd(), output]
        self._item_count += 1
        return [ItemEnd(), output]

    def _end_item(self, event: JsonObject) -> list[Output]:
        item = event["item"]
        had_deltas = self._part_indexes is not None and self._part_indexes[0] == event.get("output_index")
        self._part_indexes = None
        if not had_deltas:
            self._item_count += 1
        return self._item_outputs(item, had_deltas=had_deltas)

    def _item_outputs(self, item: JsonObject, *, had_deltas: bool) -> list[Output]:
        """Return the outputs of a complete item.

        Args:
            had_deltas: whether the text of the item has already been read in deltas.
        """
        match item.get("type"):
            case "function_call":
                return self._add_tool_call(item, _require_string(item.get("arguments") or ""))
            case "custom_tool_call":
                # Use the format of a Chat Completions server, so that `OutputWriter` has to support only one format.
                return self._add_tool_call(item, jsonio.dumps({CUSTOM_INPUT: _require_string(item.get("input") or "")}))
            case "message":
                return [*(() if had_deltas else self._part_outputs(item.get("content"))), ItemEnd()]
            case "reasoning":
                parts = (
                    ()
                    if had_deltas
                    else (*self._part_outputs(item.get("summary")), *self._part_outputs(item.get("content")))
                )
                return [*parts, ItemEnd(item.get("encrypted_content") or None)]
        return []

    def _add_tool_call(self, item: JsonObject, arguments: str) -> list[Output]:
        name = _require_string(item["name"])
        if not name:
            raise errors.PermanentError("The model server called a tool without naming it.")
        call_id = str(item.get("call_id") or item.get("id") or "")
        if call_id in self._tool_calls:
            return []
        call_key = call_id or f"call {len(self._tool_calls)} without an ID"
        self._tool_calls[call_key] = ToolCall(call_id, name, arguments)
        self._tool_calls_length += len(name) + len(arguments)
        if len(self._tool_calls) > CALLS_LIMIT or self._tool_calls_length > TEXT_LIMIT:
            raise errors.PermanentError("The model server made more tool calls than are supported.")
        return [HiddenProgress()]

    def _complete_tool_calls(self) -> list[Output]:
        """Return all tool calls of the answer; none if the answer was truncated, because calls may be missing."""
        return [] if self._finish_reason in _INCOMPLETE_REASONS.values() else list(self._tool_calls.values())

    def _part_outputs(self, parts: Any) -> list[Output]:
        outputs: list[Output] = []
        for part in parts or ():
            match part.get("type"):
                case "output_text":
                    logprobs = (
                        text_details.convert_logprobs(part.get("logprobs"), self._top_logprobs)
                        if self._wants_logprobs
                        else ()
                    )
                    outputs.append(TextDelta(_require_string(part["text"]), logprobs))
                    annotations = (text_details.convert_annotation(value) for value in part.get("annotations") or ())
                    outputs += [Annotation(annotation) for annotation in annotations if annotation is not None]
                case "refusal":
                    outputs.append(RefusalDelta(_require_string(part["refusal"])))
                case "reasoning_text":
                    outputs.append(ReasoningDelta(_require_string(part["text"])))
                case "summary_text":
                    outputs.append(SummaryDelta(_require_string(part["text"])))
                case _:
                    continue
            outputs.append(PartEnd())
        return outputs

    def _end_response(self, event: JsonObject) -> list[Output]:
        response = event["response"]
        self._finish_reason = self._end_reason(event["type"], response)
        # Some servers send no events except this one, or no events for tool calls.
        unread_items = [item for item in response.get("output") or () if not self._item_count or item.get("call_id")]
        outputs = [
            output for item in unread_items for output in self._item_outputs(item, had_deltas=False)
        ] + self._complete_tool_calls()
        self.has_finish_reason = self.is_complete = True
        usage_output = usage.parse_usage(response.get("usage"), "input_tokens", "output_tokens")
        return outputs if usage_output is None else [*outputs, usage_output]

    def _end_reason(self, event_type: str, response: JsonObject) -> str:
        """Return the reason for `AnswerEnd` from the last event; raise an error if the response failed."""
        if event_type == "response.completed":
            return "stop"
        if event_type == "response.incomplete":
            incomplete_reason = (response.get("incomplete_details") or {}).get("reason")
            if incomplete_reason in _INCOMPLETE_REASONS:
                return _INCOMPLETE_REASONS[incomplete_reason]
            raise errors.PermanentError(f"The model server aborted its answer: {str(incomplete_reason)[:100]!r}.")
        if event_type == "response.cancelled":
            raise errors.PermanentError("The model server cancelled its answer.")
        raise failures.event_error(response.get("error") or "no reason given")


def _require_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value

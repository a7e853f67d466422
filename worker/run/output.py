"""Converts the output of a model server into the events and the outcome of a response."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

from core import errors, ids, jsonio
from core.codes import Code
from core.context import reasoning
from core.runs.attempts import Attempt
from core.runs.ends import Outcome, Spent, failed
from core.tenants.seals import Seals
from core.wire import item_events
from core.wire.item_events import PARTS, Event, PartPath
from core.wire.items import Item
from core.wire.status import Status
from core.wire.tools import CustomTool
from core.wire.transcript import Fold
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
    Used,
)
from worker.models.tools import CUSTOM_INPUT
from worker.run import usage
from worker.run.resume import Plan
from worker.run.run import Run
from worker.run.splice import Splice

_PREFIXES = {"message": "msg", "reasoning": "rs"}
_GROWS = {RefusalDelta: "refusal", ReasoningDelta: "reasoning_text", SummaryDelta: "summary_text"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class OutputWriter:
    """Writes the output of one attempt: emits events and determines the outcome.

    Attributes:
        grown: whether the model server has sent any output in this attempt.
    """

    def __init__(self, run: Run, seals: Seals) -> None:
        self._run = run
        self._seals = seals
        self._attempt = run.attempt  # as sent to the model server
        self._custom = {tool.name for tool in run.attempt.request.tools if isinstance(tool, CustomTool)}
        partial_output = run.attempt.partial_output
        self._fold = Fold(partial_output)
        self._items = len(partial_output.output)  # number of items; the last one may be open
        self._item_type: str | None = None  # of the open item
        self._item_id = ""
        self._parts: Counter[str] = Counter()  # number of parts in each list of the open item
        self._place: PartPath | None = None  # of the open part
        self._annotations = 0  # number in the open part
        self._deltas = 0
        self._reason: str | None = None
        self._used: Used | None = None
        self._shown: str | None = None  # the text that the model server continues
        self._splice: Splice | None = None
        self.grown = False
        for index, open_parts in partial_output.open.items():
            self._reopen(partial_output.output[index], open_parts)

    def _reopen(self, item: Item, open_parts: list[PartPath]) -> None:
        self._item_type, self._item_id = item["type"], item["id"]
        self._parts.update({listed: len(item.get(listed, ())) for listed in ("content", "summary")})
        if open_parts:
            self._place = open_parts[-1]
            part = item[PARTS[self._place.part].listed][self._place.index]
            self._annotations = len(part.get("annotations", ()))

    def go_on(self, plan: Plan) -> None:
        """Continue from the output that earlier attempts committed."""
        self._attempt, self._shown = plan.attempt, plan.shown
        if plan.cut:
            self._close_item("incomplete")
            self.grown = False  # the closing events are not output of the model server

    def begin(self) -> None:
        """Prepare for a request to a model server; it may be a retry: discard earlier output that was not shown."""
        self._reason = None
        if self._shown is not None:
            self._splice = Splice(self._shown, grammar=self._attempt.request.text.format.type != "text")

    def shorten(self, attempt: Attempt) -> None:
        """Record that the next request to the model server has a shorter context."""
        self._attempt = attempt

    def add(self, output: Output) -> None:
        """Process one output of the model server.

        Raises:
            errors.Refused: the model server reasons instead of continuing the text it was given.
        """
        if self._attempt.prefix and isinstance(output, ReasoningDelta | SummaryDelta):
            # The model starts to reason again in the middle of its text, or marks the rest of the text as reasoning.
            text = "The model server did not continue the text it was given."
            raise errors.Refused(text, code=None if self.grown else Code.INVALID_PROMPT)
        if self._splice is not None and not isinstance(output, TextDelta | Thinking):
            self._end_splice()
        match output:
            case TextDelta():
                wanted = replace(output, logprobs=self._wanted(output.logprobs)) if output.logprobs else output
                for delta in self._splice.feed(wanted) if self._splice is not None else (wanted,):
                    self._grow("output_text", delta.text, delta.logprobs, delta.deltas)
            case RefusalDelta(text) | ReasoningDelta(text) | SummaryDelta(text):
                self._grow(_GROWS[type(output)], text)
            case Annotated(annotation):
                self._annotate(annotation)
            case ToolCall():
                self._add_call(output)
            case Finished(reason):
                self._reason = reason
            case Used():
                self._used = output
            case _:
                self._close(output)

    def _close(self, output: Output) -> None:
        match output:
            case PartDone():
                self._close_part()
            case ItemDone(encrypted_content):
                if encrypted_content and self._attempt.request.wants_sealed_reasoning:
                    self._begin("reasoning")  # the item may have no visible content
                self._close_item(own=encrypted_content)

    def _end_splice(self) -> None:
        splice, self._splice = self._splice, None
        for delta in splice.end() if splice is not None else ():
            self._grow("output_text", delta.text, delta.logprobs, delta.deltas)

    def _grow(self, part: str, text: str, logprobs: tuple[dict[str, Any], ...] = (), deltas: int = 1) -> None:
        place = self._open(part)
        self._run.grow(place, text, logprobs, deltas)
        self._fold.grow(place, text, logprobs)
        self._deltas += deltas
        self.grown = True

    def _wanted(self, logprobs: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        """Return the log probabilities that the request asks for; some model servers send more, or unrequested ones."""
        request = self._attempt.request
        if not request.wants_logprobs:
            return ()
        return tuple(one | {"top_logprobs": one["top_logprobs"][: request.top_logprobs]} for one in logprobs)

    def _annotate(self, annotation: dict[str, Any]) -> None:
        self._emit([item_events.annotation(self._open("output_text"), self._annotations, annotation)])
        self._annotations += 1

    def _open(self, part: str) -> PartPath:
        """Return the open part if it has this type; otherwise, close it and open a new part."""
        if self._place is not None and self._place.part == part:
            return self._place
        kind = PARTS[part]
        self._close_part()
        self._begin(kind.item)
        self._place = PartPath(self._item_id, self._items - 1, part, self._parts[kind.listed])
        self._parts[kind.listed] += 1
        self._annotations = 0
        self._emit([item_events.open_part(self._place)])
        return self._place

    def _begin(self, item_type: str) -> None:
        """Make sure that the open item has this type."""
        if self._item_type != item_type:
            self._close_item()
            self._item_type, self._item_id = item_type, ids.new(_PREFIXES[item_type])
            self._emit([item_events.open_item(item_events.empty_item(item_type, self._item_id), self._items)])
            self._items += 1

    def _close_part(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            item = self._fold.transcript().output[place.output_index]
            self._emit(item_events.close_part(place, item[PARTS[place.part].listed][place.index]))

    def _close_item(self, status: str = "completed", own: str | None = None) -> None:
        """Close the open item, if any; `own` is the encrypted content that the model server sent for it."""
        self._close_part()
        if self._item_type is not None:
            item = deepcopy(self._fold.transcript().output[-1])
            if item["type"] == "reasoning" and status == "completed":
                item = self._sealed(item, own)
            self._emit(item_events.close_item(item, self._items - 1, (), status))
            self._item_type = None
            self._parts.clear()

    def _sealed(self, item: Item, own: str | None) -> Item:
        attempt = self._attempt
        if not attempt.request.wants_sealed_reasoning:
            return item
        return reasoning.sealed(item, self._seals, project_id=attempt.project_id, model=attempt.model, own=own)

    def _emit(self, events: list[Event]) -> None:
        self.grown = True
        for event in events:
            self._fold.add(event)
        self._run.emit(events)

    def _add_call(self, call: ToolCall) -> None:
        self._close_item()
        self._emit(item_events.tool_call(self._item(call), self._items))
        self._items += 1
        self._deltas += 1

    def _item(self, call: ToolCall) -> Item:
        call_id = call.call_id if 0 < len(call.call_id) <= 64 else ids.new("call")[:64]
        common = {"call_id": call_id, "name": call.name, "status": "completed"}
        if call.name in self._custom:
            return {"type": "custom_tool_call", "id": ids.new("ctc"), **common, "input": _custom_input(call.arguments)}
        return {"type": "function_call", "id": ids.new("fc"), **common, "arguments": call.arguments or "{}"}

    def outcome(self) -> Outcome:
        """Return the outcome of the response; called when the output of the model server is complete."""
        self._run.ending = True
        self._end_splice()
        reason = _INCOMPLETE.get(self._reason or "")
        if reason is None and self._attempt.prefix and not self._fits():
            return failed(
                Code.SERVER_ERROR, "The model server continued a JSON text, but the result is not valid JSON."
            )
        if reason is None and self._items == 0:
            self._open("output_text")  # without any output, the response is an empty message
        if reason is None:
            self._close_item()
        spent = self.spent()
        used = self._used or Used(spent.input_tokens, spent.output_tokens)
        return Outcome(
            Status.INCOMPLETE if reason else Status.COMPLETED,
            incomplete_reason=reason,
            usage=usage.of_response(self._attempt, used),
            spent=spent,
        )

    def spent(self) -> Spent:
        """Return the tokens that the attempt has used so far: counted by the model server, or estimated."""
        if self._used is not None:
            return Spent(
                self._used.input_tokens,
                self._used.output_tokens,
                estimated=False,
                cached_tokens=self._used.cached_tokens,
                reasoning_tokens=self._used.reasoning_tokens,
            )
        return Spent(usage.estimated_input(self._attempt), self._deltas, estimated=True)

    def _fits(self) -> bool:
        """Return whether a continued text has the requested format."""
        if self._attempt.request.text.format.type == "text":
            return True
        (*_, message) = [item for item in self._fold.transcript().output if item["type"] == "message"]
        try:
            jsonio.loads("".join(part.get("text", "") for part in message["content"]))
        except ValueError:
            return False
        return True


def _custom_input(arguments: str) -> str:
    """Return the free text of a custom tool's call; arguments without the expected field are returned unchanged."""
    try:
        found = jsonio.loads(arguments)[CUSTOM_INPUT]
    except (ValueError, TypeError, KeyError):
        return arguments
    return found if isinstance(found, str) else arguments

"""Converts the output of a model server to the events and the outcome of a response."""

import logging
from collections import Counter
from copy import deepcopy
from dataclasses import replace

from core import errors, ids, jsonio
from core.codes import Code
from core.context import reasoning
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from core.runs.ends import AttemptUsage, Outcome, failed_outcome
from core.tenants.seals import Seals
from core.wire import Event, Item, item_events
from core.wire.item_events import PARTS, PartPath
from core.wire.status import Status
from core.wire.tools import CustomTool
from core.wire.transcript import Fold
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
    TokenUsage,
    ToolCall,
)
from worker.models.tools import CUSTOM_INPUT
from worker.run import usage
from worker.run.output_limit import OutputLimit
from worker.run.resume import Plan
from worker.run.run import Run
from worker.run.splice import Splice

log = logging.getLogger(__name__)

_ID_PREFIXES = {"message": "msg", "reasoning": "rs"}
_PART_TYPES = {RefusalDelta: "refusal", ReasoningDelta: "reasoning_text", SummaryDelta: "summary_text"}
_INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class OutputWriter:
    """Writes the output of one attempt: emits events and determines the outcome.

    Attributes:
        has_output: whether the model server has sent any output in this attempt.
    """

    def __init__(self, run: Run, seals: Seals, *, limit_bytes: int, context_window: int | None = None) -> None:
        """Create a writer for an attempt.

        Args:
            limit_bytes: maximum size of the response's output over all its attempts.
            context_window: maximum number of tokens of the model's prompt and output together, if it is configured.
        """
        self._run = run
        self._seals = seals
        self._attempt = run.attempt  # the attempt that is sent to the model server
        partial_output = run.attempt.partial_output
        self._fold = Fold(partial_output)
        self._limit = OutputLimit(limit_bytes, partial_output.output)
        self._context_window = context_window
        self._item_count = len(partial_output.output)  # the last item may be open
        self._item_type: str | None = None  # of the open item
        self._item_id = ""
        self._part_counts: Counter[str] = Counter()  # of the open item, by its lists `content` and `summary`
        self._part_path: PartPath | None = None  # of the open part
        self._annotation_count = 0  # in the open part
        self._delta_count = 0  # an estimate of the output tokens
        self._finish_reason: str | None = None
        self._token_usage: TokenUsage | None = None
        self._continued_text: str | None = None  # the text that the model server continues
        self._splice: Splice | None = None
        self.has_output = False
        for index, open_parts in partial_output.open.items():
            self._reopen_item(partial_output.output[index], open_parts)

    def _reopen_item(self, item: Item, open_parts: list[PartPath]) -> None:
        self._item_type, self._item_id = item["type"], item["id"]
        self._part_counts.update({list_name: len(item.get(list_name, ())) for list_name in ("content", "summary")})
        if open_parts:
            self._part_path = open_parts[-1]
            part = item[PARTS[self._part_path.part_type].list_field][self._part_path.index]
            self._annotation_count = len(part.get("annotations", ()))

    @property
    def is_full(self) -> bool:
        """Whether the output has reached the size limit: the rest of the answer must not be read."""
        return self._limit.is_reached

    def continue_from(self, plan: Plan) -> None:
        """Continue the output of earlier attempts according to the plan."""
        self._attempt, self._continued_text = plan.attempt, plan.text
        if plan.closes_open_item:
            self._close_item("incomplete")
            self.has_output = False  # the events that close the item are not output of the model server

    def prepare_request(self) -> None:
        """Prepare for a request to a model server; before a retry, discard output that was not emitted yet."""
        self._finish_reason = None
        if self._continued_text is not None:
            self._splice = Splice(self._continued_text, is_constrained=self._attempt.request.text.format.type != "text")

    def set_attempt(self, attempt: Attempt) -> None:
        """Replace the attempt after its context was shortened for the next request to the model server."""
        self._attempt = attempt

    def add(self, output: Output) -> None:
        """Process one output of the model server.

        Raises:
            errors.PermanentError: the model server reasons instead of continuing the partial text.
        """
        if self._attempt.prefix and isinstance(output, ReasoningDelta | SummaryDelta):
            # The model starts to reason again in the middle of its text, or marks the continuation as reasoning.
            message = "The model server did not continue the text it was given."
            raise errors.PermanentError(message, code=None if self.has_output else Code.INVALID_PROMPT)
        if self._splice is not None and not isinstance(output, TextDelta | HiddenProgress):
            self._end_splice()
        match output:
            case TextDelta():
                delta = replace(output, logprobs=self._select_logprobs(output.logprobs)) if output.logprobs else output
                for text_delta in self._splice.feed(delta) if self._splice is not None else (delta,):
                    self._append_delta("output_text", text_delta.text, text_delta.logprobs, text_delta.delta_count)
            case RefusalDelta(text) | ReasoningDelta(text) | SummaryDelta(text):
                self._append_delta(_PART_TYPES[type(output)], text)
            case Annotation(annotation):
                self._add_annotation(annotation)
            case ToolCall():
                self._add_tool_call(output)
            case AnswerEnd(reason):
                self._finish_reason = reason
            case TokenUsage():
                self._token_usage = output
            case _:
                self._close_part_or_item(output)

    def _close_part_or_item(self, output: Output) -> None:
        match output:
            case PartEnd():
                self._close_part()
            case ItemEnd(encrypted_content):
                if encrypted_content and not self._limit.try_add(encrypted_content):
                    return
                if encrypted_content and self._attempt.request.includes_sealed_reasoning:
                    self._open_item("reasoning")  # not open yet if the item has no visible content
                self._close_item(encrypted_content=encrypted_content)

    def _end_splice(self) -> None:
        splice, self._splice = self._splice, None
        for delta in splice.end() if splice is not None else ():
            self._append_delta("output_text", delta.text, delta.logprobs, delta.delta_count)

    def _append_delta(
        self, part_type: str, text: str, logprobs: tuple[JsonObject, ...] = (), delta_count: int = 1
    ) -> None:
        if logprobs and not self._limit.try_add(*logprobs):
            return
        text = self._limit.cut_text(text)
        if self.is_full:
            logprobs = ()  # they belong to the text before it was cut
        if not text and self.is_full:
            return
        part_path = self._open_part(part_type)
        self._run.append_delta(part_path, text, logprobs, delta_count)
        self._fold.append_text(part_path, text, logprobs)
        self._delta_count += delta_count
        self.has_output = True

    def _select_logprobs(self, logprobs: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
        """Return only the requested log probabilities; some model servers send more, or send them unrequested."""
        request = self._attempt.request
        if not request.includes_logprobs:
            return ()
        return tuple(
            logprob | {"top_logprobs": logprob["top_logprobs"][: request.top_logprobs]} for logprob in logprobs
        )

    def _add_annotation(self, annotation: JsonObject) -> None:
        if not self._limit.try_add(annotation):
            return
        self._emit([item_events.annotation(self._open_part("output_text"), self._annotation_count, annotation)])
        self._annotation_count += 1

    def _open_part(self, part_type: str) -> PartPath:
        """Return the open part if it has this type; otherwise close it and open a new part."""
        if self._part_path is not None and self._part_path.part_type == part_type:
            return self._part_path
        kind = PARTS[part_type]
        self._close_part()
        self._limit.try_add()  # counts the events of the part
        self._open_item(kind.item_type)
        self._part_path = PartPath(self._item_id, self._item_count - 1, part_type, self._part_counts[kind.list_field])
        self._part_counts[kind.list_field] += 1
        self._annotation_count = 0
        self._emit([item_events.open_part(self._part_path)])
        return self._part_path

    def _open_item(self, item_type: str) -> None:
        """Close the open item and open a new one, unless the open item already has this type."""
        if self._item_type != item_type:
            self._close_item()
            self._item_type, self._item_id = item_type, ids.new_id(_ID_PREFIXES[item_type])
            self._emit([item_events.open_item(item_events.empty_item(item_type, self._item_id), self._item_count)])
            self._item_count += 1

    def _close_part(self) -> None:
        part_path, self._part_path = self._part_path, None
        if part_path is not None:
            item = self._fold.transcript().output[part_path.output_index]
            self._emit(item_events.close_part(part_path, item[PARTS[part_path.part_type].list_field][part_path.index]))

    def _close_item(self, status: str = "completed", encrypted_content: str | None = None) -> None:
        """Close the open item, if any.

        Args:
            status: final status of the item.
            encrypted_content: the encrypted content of the item from the model server, if any.
        """
        self._close_part()
        if self._item_type is not None:
            item = deepcopy(self._fold.transcript().output[-1])
            if item["type"] == "reasoning" and status == "completed":
                item = self._seal_reasoning(item, encrypted_content)
            self._emit(item_events.close_item(item, self._item_count - 1, (), status))
            self._item_type = None
            self._part_counts.clear()

    def _seal_reasoning(self, item: Item, encrypted_content: str | None) -> Item:
        attempt = self._attempt
        if not attempt.request.includes_sealed_reasoning:
            return item
        return reasoning.seal_item(
            item,
            self._seals,
            project_id=attempt.project_id,
            model=attempt.model,
            server_encrypted_content=encrypted_content,
        )

    def _emit(self, events: list[Event]) -> None:
        self.has_output = True
        for event in events:
            self._fold.add(event)
        self._run.emit(events)

    def _add_tool_call(self, call: ToolCall) -> None:
        if not self._limit.try_add(call.name, call.arguments):
            return
        self._close_item()
        self._emit(item_events.tool_call(self._build_tool_call(call), self._item_count))
        self._item_count += 1
        self._delta_count += 1

    def _build_tool_call(self, call: ToolCall) -> Item:
        call_id = call.call_id if 0 < len(call.call_id) <= 64 else ids.new_id("call")[:64]
        common_fields = {"call_id": call_id, "name": call.name, "status": "completed"}
        if any(isinstance(tool, CustomTool) and tool.name == call.name for tool in self._attempt.request.tools):
            return {
                "type": "custom_tool_call",
                "id": ids.new_id("ctc"),
                **common_fields,
                "input": _parse_custom_input(call.arguments),
            }
        return {"type": "function_call", "id": ids.new_id("fc"), **common_fields, "arguments": call.arguments or "{}"}

    def outcome(self) -> Outcome:
        """End the output and return the outcome of the response, after the model server has completed its answer."""
        self._run.is_ending = True
        self._end_splice()
        reason = "max_output_tokens" if self.is_full else _INCOMPLETE_REASONS.get(self._finish_reason or "")
        if reason is None and self._attempt.prefix and not self._has_requested_format():
            return failed_outcome(
                Code.SERVER_ERROR, "The model server continued a JSON text, but the result is not valid JSON."
            )
        if reason is None and self._item_count == 0:
            self._open_part("output_text")  # a response without any output is an empty message
        if reason is None:
            self._close_item()
        attempt_usage = self.attempt_usage()
        token_usage = self._token_usage or TokenUsage(attempt_usage.input_tokens, attempt_usage.output_tokens)
        return Outcome(
            Status.INCOMPLETE if reason else Status.COMPLETED,
            cause=self._limit.cause if self.is_full else None,
            incomplete_reason=reason,
            usage=usage.response_usage(self._attempt, token_usage),
            attempt_usage=attempt_usage,
        )

    def attempt_usage(self) -> AttemptUsage:
        """Return the token usage of the attempt so far: counted by the model server, or estimated."""
        self._drop_implausible_usage()
        if self._token_usage is not None:
            return AttemptUsage(
                self._token_usage.input_tokens,
                self._token_usage.output_tokens,
                estimated=False,
                cached_tokens=self._token_usage.cached_tokens,
                reasoning_tokens=self._token_usage.reasoning_tokens,
            )
        return AttemptUsage(usage.estimated_input_tokens(self._attempt), self._delta_count, estimated=True)

    def _drop_implausible_usage(self) -> None:
        reported_usage = self._token_usage
        if reported_usage is None:
            return
        if not usage.is_plausible(reported_usage, self._attempt, self._limit.counted_bytes, self._context_window):
            fields = {"response": self._attempt.response_id, "attempt": self._attempt.number}
            counts = {"input_tokens": reported_usage.input_tokens, "output_tokens": reported_usage.output_tokens}
            log.warning("implausible usage", extra={**fields, **counts})
            self._token_usage = None

    def _has_requested_format(self) -> bool:
        """Return whether a continued text is valid in the requested format."""
        if self._attempt.request.text.format.type == "text":
            return True
        messages = [item for item in self._fold.transcript().output if item["type"] == "message"]
        try:
            jsonio.loads("".join(part.get("text", "") for part in messages[-1]["content"]))
        except ValueError:
            return False
        return True


def _parse_custom_input(arguments: str) -> str:
    """Return the free text of a custom tool's call; arguments without the expected field are returned unchanged."""
    try:
        text = jsonio.loads(arguments)[CUSTOM_INPUT]
    except (ValueError, TypeError, KeyError):
        return arguments
    return text if isinstance(text, str) else arguments

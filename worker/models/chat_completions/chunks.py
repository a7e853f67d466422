"""Converts the chunks of a Chat Completions stream to outputs."""

from typing import Any

from core import errors
from core.config.catalog import ModelConfig
from core.jsonio import JsonObject
from core.wire.request import CreateResponse
from worker.models import failures, text_details, usage
from worker.models.chat_completions.think_tags import ThinkTags
from worker.models.chat_completions.tool_calls import ToolCallAssembler
from worker.models.protocol import (
    Annotation,
    AnswerEnd,
    HiddenProgress,
    Output,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)

# Maps the finish reasons of all known servers to the reasons of `AnswerEnd`. Any other reason, such as `abort` or
# `error`, means that the server aborted the answer.
_FINISH_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("content_filter", "safety", "recitation"), "content_filter"),
}
_NULL_REASONS = frozenset({"null", "none"})  # some servers send null as a string
_MAX_REASON_CHARS = 100
# Maximum number of log probabilities that a server may send before the text of their tokens.
_MAX_PENDING_LOGPROBS = 4096


class ChunkReader:
    """Reads the chunks of one answer. Tool calls are returned at the end of the answer, when all are complete.

    Args:
        is_continuation: whether the answer continues a partial text. If so, it contains no reasoning tags.
    """

    def __init__(self, model: ModelConfig, request: CreateResponse, *, is_continuation: bool = False) -> None:
        self.has_finish_reason = False
        self.is_complete = False
        self._has_started = False
        self._has_text = False
        self._finish_reason: str | None = None
        self._calls = ToolCallAssembler(tool.name for tool in request.tools if hasattr(tool, "name"))
        self._wants_logprobs = request.includes_logprobs
        self._top_logprobs = request.top_logprobs
        self._pending_logprobs: tuple[JsonObject, ...] = ()  # of tokens for which no text has arrived yet
        has_tags = model.reasoning_format != "field" and not is_continuation
        self._think_tags = ThinkTags(starts_in_reasoning=model.reasoning_format == "open_tag") if has_tags else None

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one chunk completes. See `Reader.read`."""
        return self._read_chunk(event, "delta")

    def read_document(self, answer: Any) -> list[Output]:
        """Return the outputs of a chat completion that is a single JSON document. See `Reader.read_document`."""
        outputs = self._read_chunk(answer, "message")
        self.has_finish_reason = self._has_started
        return outputs

    def end(self, *, has_end_marker: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes. See `Reader.end`."""
        if not self.has_finish_reason and not (has_end_marker and self._has_started):
            raise errors.TransientError("The model server closed the connection before the end of its answer.")
        outputs: list[Output] = []
        if self._think_tags is not None:
            outputs += self._think_tags.end()
        if self._pending_logprobs and self._has_text:
            outputs.append(TextDelta("", self._pending_logprobs))
        # Drop the tool calls of a truncated answer, because the arguments of the last one are incomplete.
        if self._finish_reason in {None, "stop", "tool_calls"}:
            outputs += self._calls.complete_calls()
        return [*outputs, AnswerEnd(self._finish_reason)]

    def _read_chunk(self, event: Any, key: str) -> list[Output]:
        try:
            if event.get("error") or ("choices" not in event and _is_failure(event)):
                raise failures.event_error(event)
            outputs: list[Output] = []
            for choice in (event.get("choices") or ())[:1]:
                self._has_started = True
                self._read_choice(choice, choice.get(key) or choice.get("delta") or {}, outputs)
        except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
            raise errors.PermanentError("The model server sent something that is not a chat completion.") from error
        usage_value = event.get("usage")
        usage_output = usage.parse_usage(usage_value, "prompt_tokens", "completion_tokens") if usage_value else None
        return outputs if usage_output is None else [*outputs, usage_output]

    def _read_choice(self, choice: JsonObject, delta: JsonObject, outputs: list[Output]) -> None:
        logprobs = choice.get("logprobs") if self._wants_logprobs else None
        if logprobs:
            self._add_logprobs(text_details.convert_logprobs(logprobs.get("content"), self._top_logprobs))
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning:
            self._add_reasoning(reasoning, outputs)
        content = delta.get("content")
        if content:
            self._add_content(content, outputs)
        if not content or len(delta) > 1:
            self._add_other_fields(delta, outputs)
        reason = choice.get("finish_reason")
        if reason:
            self._set_finish_reason(str(reason))

    def _add_logprobs(self, logprobs: tuple[JsonObject, ...]) -> None:
        if self._pending_logprobs and len(self._pending_logprobs) + len(logprobs) > _MAX_PENDING_LOGPROBS:
            raise errors.PermanentError("The model server sent too many log probabilities without their text.")
        self._pending_logprobs += logprobs

    def _add_content(self, content: Any, outputs: list[Output]) -> None:
        if isinstance(content, str):
            if self._think_tags is None:
                self._add_text(content, outputs)
            else:
                for output in self._think_tags.feed(content):
                    if isinstance(output, TextDelta):
                        self._add_text(output.text, outputs)
                    else:
                        self._add_reasoning(output.text, outputs)
            return
        for part in content:  # Mistral sends a list of parts
            part_type = part["type"]
            if part_type == "thinking":
                self._add_reasoning(part["thinking"], outputs)
            elif part_type in {"text", "output_text"} and part["text"]:
                self._add_text(str(part["text"]), outputs)
            elif part_type == "refusal" and part["refusal"]:
                outputs.append(RefusalDelta(str(part["refusal"])))

    def _add_text(self, text: str, outputs: list[Output]) -> None:
        logprobs, self._pending_logprobs = self._pending_logprobs, ()
        self._has_text = True
        outputs.append(TextDelta(text, logprobs))

    def _add_reasoning(self, reasoning: Any, outputs: list[Output]) -> None:
        self._pending_logprobs = ()  # they belong to the reasoning and not to the text
        if not isinstance(reasoning, str):
            reasoning = "".join(part["text"] for part in reasoning)
        if reasoning:
            outputs.append(ReasoningDelta(reasoning))

    def _add_other_fields(self, delta: JsonObject, outputs: list[Output]) -> None:
        """Add the refusal, annotations and tool calls of a delta, if any."""
        if delta.get("refusal"):
            outputs.append(RefusalDelta(str(delta["refusal"])))
        annotations = [text_details.convert_annotation(value) for value in delta.get("annotations") or ()]
        outputs += [Annotation(annotation) for annotation in annotations if annotation is not None]
        pieces = delta.get("tool_calls") or ()
        if delta.get("function_call"):  # the deprecated form of a single call
            pieces = [{"index": 0, "function": delta["function_call"]}]
        for piece in pieces:
            self._calls.add(piece)
        if pieces:
            self._pending_logprobs = ()  # they belong to the tool calls and not to the text
            outputs.append(HiddenProgress())

    def _set_finish_reason(self, reason: str) -> None:
        name = reason.lower()
        if name in _NULL_REASONS:
            return
        if name not in _FINISH_REASONS:
            raise errors.PermanentError(f"The model server aborted its answer: {reason[:_MAX_REASON_CHARS]!r}.")
        self._finish_reason = _FINISH_REASONS[name]
        self.has_finish_reason = True


def _is_failure(event: JsonObject) -> bool:
    return event.get("object") == "error" or "detail" in event or "message" in event

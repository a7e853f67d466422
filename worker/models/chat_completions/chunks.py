"""Converts the chunks of a Chat Completions stream into outputs."""

from typing import Any

from core import errors
from core.config.catalog import ModelConfig
from core.wire.request import CreateResponse
from worker.models import failures, text_details, usage
from worker.models.chat_completions.think_tags import ThinkTags
from worker.models.protocol import Annotated, Finished, Output, ReasoningDelta, RefusalDelta, TextDelta, Thinking
from worker.models.tool_calls import Calls

# Maps the finish reasons of all known servers to the reasons of `Finished`. Any other reason, such as `abort` or
# `error`, means that the answer is incomplete.
_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("content_filter", "safety", "recitation"), "content_filter"),
}
_NOT_YET = frozenset({"null", "none"})  # some servers send null as a string
_REASON_CHARS = 100


class Chunks:
    """Reads the chunks of one answer; tool calls are returned at the end, when all of them are complete.

    Args:
        continues: whether the answer continues a partial text; then it contains no reasoning tags.
    """

    def __init__(self, model: ModelConfig, request: CreateResponse, *, continues: bool = False) -> None:
        self.finished = False
        self.done = False
        self._begun = False
        self._has_text = False
        self._reason: str | None = None
        self._calls = Calls(tool.name for tool in request.tools if hasattr(tool, "name"))
        self._wants_logprobs = request.wants_logprobs
        self._top = request.top_logprobs
        self._logprobs: tuple[dict[str, Any], ...] = ()  # of tokens whose text has not arrived yet
        tagged = model.reasoning_format != "field" and not continues
        self._tags = ThinkTags(open=model.reasoning_format == "open_tag") if tagged else None

    def read(self, event: Any) -> list[Output]:
        """Return the outputs that one chunk completes. See `http.Reader`."""
        return self._read(event, "delta")

    def complete_outputs(self, answer: Any) -> list[Output]:
        """Return the outputs of a chat completion that is a single JSON document. See `http.Reader`."""
        outputs = self._read(answer, "message")
        self.finished = self._begun
        return outputs

    def end(self, *, marked: bool) -> list[Output]:
        """Return the outputs that the end of the answer completes. See `http.Reader`."""
        if not self.finished and not (marked and self._begun):
            raise errors.Erred("The model server closed the connection before the end of its answer.")
        outputs: list[Output] = []
        if self._tags is not None:
            outputs += self._tags.end()
        if self._logprobs and self._has_text:
            outputs.append(TextDelta("", self._logprobs))
        # If the answer was truncated, the arguments of its last call are incomplete, so the calls are dropped.
        if self._reason in {None, "stop", "tool_calls"}:
            outputs += self._calls.complete()
        return [*outputs, Finished(self._reason)]

    def _read(self, event: Any, key: str) -> list[Output]:
        try:
            if event.get("error") or ("choices" not in event and _is_failure(event)):
                raise failures.of_event(event)
            outputs: list[Output] = []
            for choice in (event.get("choices") or ())[:1]:
                self._begun = True
                self._choice(choice, choice.get(key) or choice.get("delta") or {}, outputs)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise errors.Refused("The model server sent something that is not a chat completion.") from error
        counted = event.get("usage")
        used = usage.used(counted, "prompt_tokens", "completion_tokens") if counted else None
        return outputs if used is None else [*outputs, used]

    def _choice(self, choice: dict[str, Any], delta: dict[str, Any], outputs: list[Output]) -> None:
        logprobs = choice.get("logprobs") if self._wants_logprobs else None
        if logprobs:
            self._logprobs += text_details.logprobs(logprobs.get("content"), self._top)
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            self._add_thought(thought, outputs)
        content = delta.get("content")
        if content:
            self._add_content(content, outputs)
        if not content or len(delta) > 1:
            self._add_others(delta, outputs)
        reason = choice.get("finish_reason")
        if reason:
            self._finish(str(reason))

    def _add_content(self, content: Any, outputs: list[Output]) -> None:
        if isinstance(content, str):
            if self._tags is None:
                self._add_text(content, outputs)
            else:
                for output in self._tags.feed(content):
                    if isinstance(output, TextDelta):
                        self._add_text(output.text, outputs)
                    else:
                        self._add_thought(output.text, outputs)
            return
        for part in content:  # Mistral sends a list of parts
            kind = part["type"]
            if kind == "thinking":
                self._add_thought(part["thinking"], outputs)
            elif kind in {"text", "output_text"} and part["text"]:
                self._add_text(str(part["text"]), outputs)
            elif kind == "refusal" and part["refusal"]:
                outputs.append(RefusalDelta(str(part["refusal"])))

    def _add_text(self, text: str, outputs: list[Output]) -> None:
        logprobs, self._logprobs = self._logprobs, ()
        self._has_text = True
        outputs.append(TextDelta(text, logprobs))

    def _add_thought(self, thought: Any, outputs: list[Output]) -> None:
        self._logprobs = ()  # they belong to the reasoning, not to the text
        if not isinstance(thought, str):
            thought = "".join(part["text"] for part in thought)
        if thought:
            outputs.append(ReasoningDelta(thought))

    def _add_others(self, delta: dict[str, Any], outputs: list[Output]) -> None:
        """Add the refusal, annotations and tool calls of a delta, if any."""
        if delta.get("refusal"):
            outputs.append(RefusalDelta(str(delta["refusal"])))
        notes = [text_details.annotation(found) for found in delta.get("annotations") or ()]
        outputs += [Annotated(note) for note in notes if note is not None]
        pieces = delta.get("tool_calls") or ()
        if delta.get("function_call"):  # the deprecated form of a single call
            pieces = [{"index": 0, "function": delta["function_call"]}]
        for piece in pieces:
            self._calls.add(piece)
        if pieces:
            self._logprobs = ()
            outputs.append(Thinking())

    def _finish(self, reason: str) -> None:
        word = reason.lower()
        if word in _NOT_YET:
            return
        if word not in _REASONS:
            raise errors.Refused(f"The model server aborted its answer: {reason[:_REASON_CHARS]!r}.")
        self._reason = _REASONS[word]
        self.finished = True


def _is_failure(event: dict[str, Any]) -> bool:
    return event.get("object") == "error" or "detail" in event or "message" in event

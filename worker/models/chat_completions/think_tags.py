"""Separates reasoning from output text if a model server sends both as one text with `<think>` tags."""

from enum import Enum, auto

from worker.models.protocol import ReasoningDelta, TextDelta

_OPENING_TAG = "<think>"
_CLOSING_TAG = "</think>"
# Maximum length of whitespace around a tag; more whitespace is part of the reasoning or of the output text.
_MAX_WHITESPACE = 4096


class _State(Enum):
    START = auto()  # only whitespace and possibly the beginning of a tag have arrived
    REASONING = auto()
    AFTER_REASONING = auto()  # the reasoning has ended, and only whitespace has followed
    OUTPUT_TEXT = auto()


class ThinkTags:
    """Splits a text that arrives in pieces at `<think>` and `</think>`; a tag may span several pieces.

    Only a tag at the beginning of the text starts reasoning; later tags are part of the output text.

    Args:
        starts_in_reasoning: whether the text starts with reasoning without an opening tag, because the prompt ends with
            this tag.
    """

    def __init__(self, *, starts_in_reasoning: bool) -> None:
        self._starts_in_reasoning = starts_in_reasoning
        self._state = _State.START
        self._pending = ""  # the possible beginning of a tag, or whitespace around a tag
        self._has_reasoning = False

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """Process a piece of the text; return the reasoning and the output text that it completes."""
        if self._state is _State.OUTPUT_TEXT:
            return [TextDelta(text)]
        text, self._pending = self._pending + text, ""
        outputs: list[TextDelta | ReasoningDelta] = []
        if self._state is _State.START:
            text = self._skip_opening_tag(text)
        if self._state is _State.REASONING:
            text = self._take_reasoning(text, outputs)
        if self._state is _State.AFTER_REASONING:
            text = text.lstrip()
            self._state = _State.OUTPUT_TEXT if text else _State.AFTER_REASONING
        if text:
            outputs.append(TextDelta(text))
        return outputs

    def end(self) -> list[TextDelta | ReasoningDelta]:
        """End the text; return the remaining output. Reasoning without a closing tag remains reasoning."""
        text, self._pending = self._pending, ""
        if self._state is _State.REASONING or self._starts_in_reasoning:
            return [] if not text or text.isspace() else [ReasoningDelta(text)]
        return [TextDelta(text)] if text else []

    def _skip_opening_tag(self, text: str) -> str:
        """Return the text after the opening tag, if any; empty if the text may be the beginning of the tag."""
        stripped_text = text.lstrip()
        if stripped_text.startswith(_OPENING_TAG):
            self._state = _State.REASONING
            return stripped_text.removeprefix(_OPENING_TAG)
        if _OPENING_TAG.startswith(stripped_text) and len(text) <= _MAX_WHITESPACE:
            self._pending = text
            return ""
        self._state = _State.REASONING if self._starts_in_reasoning else _State.OUTPUT_TEXT
        return text

    def _take_reasoning(self, text: str, outputs: list[TextDelta | ReasoningDelta]) -> str:
        """Append the reasoning at the beginning of the text to the outputs; return the text after the closing tag."""
        reasoning, closing_tag, remainder = text.partition(_CLOSING_TAG)
        if closing_tag:
            self._state = _State.AFTER_REASONING
            reasoning = reasoning.rstrip()
        else:
            length = _length_without_tag(reasoning)
            reasoning, self._pending = reasoning[:length], reasoning[length:]
        if not self._has_reasoning:
            reasoning = reasoning.lstrip()
        if reasoning:
            self._has_reasoning = True
            outputs.append(ReasoningDelta(reasoning))
        return remainder


def _length_without_tag(reasoning: str) -> int:
    """Return the length of the reasoning without a partial closing tag at its end and the whitespace before the tag."""
    tag_length = next((n for n in range(len(_CLOSING_TAG) - 1, 0, -1) if reasoning.endswith(_CLOSING_TAG[:n])), 0)
    tag_start = len(reasoning) - tag_length
    whitespace_start = len(reasoning[:tag_start].rstrip())
    return whitespace_start if tag_start - whitespace_start <= _MAX_WHITESPACE else tag_start

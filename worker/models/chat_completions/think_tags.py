"""Separates reasoning from output text when a model server sends both as one text with `<think>` tags."""

from enum import Enum, auto

from worker.models.protocol import ReasoningDelta, TextDelta

_OPEN = "<think>"
_CLOSE = "</think>"


class _State(Enum):
    BEFORE = auto()  # only white space so far, and possibly the beginning of a tag
    THINKING = auto()
    BETWEEN = auto()  # the reasoning has ended, and only white space has followed
    SAYING = auto()


class ThinkTags:
    """Splits a text that arrives in pieces at `<think>` and `</think>`; a tag may span several pieces.

    Only a tag at the beginning of the text starts reasoning; later tags are part of the output text.

    Args:
        open: whether the text starts with reasoning, without an opening tag, because the tag is the end of the prompt.
    """

    def __init__(self, *, open: bool) -> None:
        self._open = open
        self._state = _State.BEFORE
        self._pending = ""  # the possible beginning of a tag, or white space around a tag
        self._thought = False

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """Return the reasoning and the output text that a piece of the text completes."""
        if self._state is _State.SAYING:
            return [TextDelta(text)]
        text, self._pending = self._pending + text, ""
        outputs: list[TextDelta | ReasoningDelta] = []
        if self._state is _State.BEFORE:
            text = self._begin(text)
        if self._state is _State.THINKING:
            text = self._think(text, outputs)
        if self._state is _State.BETWEEN:
            text = text.lstrip()
            self._state = _State.SAYING if text else _State.BETWEEN
        if text:
            outputs.append(TextDelta(text))
        return outputs

    def end(self) -> list[TextDelta | ReasoningDelta]:
        """Return the rest at the end of the text; reasoning that was never closed remains reasoning."""
        text, self._pending = self._pending, ""
        if self._state is _State.THINKING or self._open:
            return [] if not text or text.isspace() else [ReasoningDelta(text)]
        return [TextDelta(text)] if text else []

    def _begin(self, text: str) -> str:
        head = text.lstrip()
        if head.startswith(_OPEN):
            self._state = _State.THINKING
            return head[len(_OPEN) :]
        if _OPEN.startswith(head):
            self._pending = text
            return ""
        self._state = _State.THINKING if self._open else _State.SAYING
        return text

    def _think(self, text: str, outputs: list[TextDelta | ReasoningDelta]) -> str:
        """Output the reasoning at the beginning of the text; return the text after the closing tag."""
        thought, closed, rest = text.partition(_CLOSE)
        if closed:
            self._state = _State.BETWEEN
            thought = thought.rstrip()
        else:
            safe = _safe(thought)
            thought, self._pending = thought[:safe], thought[safe:]
        if not self._thought:
            thought = thought.lstrip()
        if thought:
            self._thought = True
            outputs.append(ReasoningDelta(thought))
        return rest


def _safe(thought: str) -> int:
    """Return the length of the text before a possible beginning of the closing tag and the white space before it."""
    begun = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
    return len(thought[: len(thought) - begun].rstrip())

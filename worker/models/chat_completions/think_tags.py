"""Tells what a model thinks from what it says, where both come as one text with tags in it."""

from enum import Enum, auto

from worker.models.protocol import ReasoningDelta, TextDelta

_OPEN = "<think>"
_CLOSE = "</think>"


class _State(Enum):
    BEFORE = auto()  # nothing but space, and perhaps the beginning of a tag
    THINKING = auto()
    BETWEEN = auto()  # the thought is over, only space has followed
    SAYING = auto()


class ThinkTags:
    """Cuts a text that comes in pieces at `<think>` and `</think>`, wherever the pieces end.

    Only what stands at the text's beginning is thought: later a tag is something the model says.

    Args:
        open: the text begins in a thought, as its tag is the prompt's last word.
    """

    def __init__(self, *, open: bool) -> None:
        self._open = open
        self._state = _State.BEFORE
        self._pending = ""  # what may be the beginning of a tag, or space around one
        self._thought = False

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """What a piece adds to the thought and to the answer."""
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
        """What is left at the end; a thought that is never closed stays a thought."""
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
        """Take the thought from the text's beginning; what follows it is left."""
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
    """How much of a thought is certainly not the closing tag's beginning, nor the space before it."""
    begun = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
    return len(thought[: len(thought) - begun].rstrip())

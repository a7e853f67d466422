"""Joins a continuation to the text that it continues, without the text that the model server repeats."""

from dataclasses import replace

from core.jsonio import JsonObject
from worker.models.protocol import TextDelta

# A continuation that starts with the complete prefix is an echo if the prefix has at least this many characters.
_MIN_ECHO_LENGTH = 32


class Splice:
    """Removes the text that has already been shown from the beginning of a continuation.

    The model server receives the text without its trailing whitespace, because that whitespace would degrade the
    continuation. Therefore the continuation may begin with the whitespace. Some servers repeat the complete text before
    the continuation; llama.cpp does so if it uses a grammar.

    Source: the behavior of llama.cpp, vLLM and SGLang, measured with the packaged model.

    Args:
        text: the text to continue.
        is_constrained: whether the output format constrains the text. If so, even a short echo is removed.
    """

    def __init__(self, text: str, *, is_constrained: bool) -> None:
        self.prefix = text.rstrip()
        self._whitespace = text[len(self.prefix) :]
        self._echo = self.prefix if is_constrained or len(self.prefix) >= _MIN_ECHO_LENGTH else ""
        self._pending: list[TextDelta] = []  # deltas that may be an echo
        self._may_repeat_text = True  # whether further repeated text may arrive

    def feed(self, delta: TextDelta) -> list[TextDelta]:
        """Process a delta of the continuation; return the deltas to show now."""
        if not self._may_repeat_text:
            return [delta]
        self._pending.append(delta)
        text = self._pending_text()
        if len(text) < len(self._echo) and self._echo.startswith(text):
            return []
        return self._remove_repeated_text(text)

    def end(self) -> list[TextDelta]:
        """End the continuation; return the remaining deltas to show."""
        if not self._may_repeat_text:
            return []
        return self._remove_repeated_text(self._pending_text())

    def _pending_text(self) -> str:
        return "".join(delta.text for delta in self._pending)

    def _remove_repeated_text(self, text: str) -> list[TextDelta]:
        echo_length = len(self._echo) if self._echo and text.startswith(self._echo) else 0
        space_length = 0
        for character, expected_space in zip(text[echo_length:], self._whitespace, strict=False):
            if character != expected_space:
                break
            space_length += 1
        if echo_length + space_length == len(text) and space_length < len(self._whitespace):
            # The text ends within the whitespace, which may continue in the next delta.
            self._echo, self._whitespace = "", self._whitespace[space_length:]
            self._pending.clear()
            return []
        self._may_repeat_text = False
        pending, self._pending = self._pending, []
        return _drop_characters(pending, echo_length + space_length)


def _drop_characters(deltas: list[TextDelta], character_count: int) -> list[TextDelta]:
    """Return the deltas without the first `character_count` characters and their log probabilities."""
    remaining_deltas: list[TextDelta] = []
    for delta in deltas:
        if character_count >= len(delta.text):
            character_count -= len(delta.text)
        elif character_count:
            logprobs = _drop_logprobs(delta.logprobs, character_count)
            remaining_deltas.append(replace(delta, text=delta.text[character_count:], logprobs=logprobs))
            character_count = 0
        else:
            remaining_deltas.append(delta)
    return remaining_deltas


def _drop_logprobs(logprobs: tuple[JsonObject, ...], character_count: int) -> tuple[JsonObject, ...]:
    """Return the log probabilities without those of the tokens within the first `character_count` characters."""
    end = 0
    for index, logprob in enumerate(logprobs):
        end += len(logprob["token"])
        if end > character_count:
            return logprobs[index:]
    return ()

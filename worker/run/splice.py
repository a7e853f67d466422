"""Joins a continuation to the text that it continues, without repeating what the model server repeats."""

from dataclasses import replace

from worker.models.protocol import TextDelta

# If a continuation starts with the whole prefix and the prefix has at least this many characters, it is an echo.
_ECHO_FROM = 32


class Splice:
    """Removes from a continuation the text that has already been shown.

    The model server receives the text without its trailing white space, which would degrade the continuation; so the
    continuation may begin with that white space. Some servers echo the whole text they were given before the
    continuation; llama.cpp does so when it uses a grammar.

    Source: design of continuing on llama.cpp, vLLM and SGLang; measured on the packaged model.

    Args:
        shown: the text to continue.
        grammar: whether the output format constrains the text, so that even a short echo is removed.
    """

    def __init__(self, shown: str, *, grammar: bool) -> None:
        self.prefix = shown.rstrip()
        self._space = shown[len(self.prefix) :]
        self._echo = self.prefix if grammar or len(self.prefix) >= _ECHO_FROM else ""
        self._pending: list[TextDelta] = []  # deltas that may be an echo
        self._open = True

    def feed(self, delta: TextDelta) -> list[TextDelta]:
        """Return the deltas to show now."""
        if not self._open:
            return [delta]
        self._pending.append(delta)
        text = "".join(one.text for one in self._pending)
        if len(text) < len(self._echo) and self._echo.startswith(text):
            return []
        return self._join(text)

    def end(self) -> list[TextDelta]:
        """Return the remaining deltas to show at the end of the continuation."""
        return self._join("".join(one.text for one in self._pending)) if self._open else []

    def _join(self, text: str) -> list[TextDelta]:
        skip = len(self._echo) if self._echo and text.startswith(self._echo) else 0
        space = 0
        while space < len(self._space) and text[skip + space : skip + space + 1] == self._space[space]:
            space += 1
        if skip + space == len(text) and space < len(self._space):
            # The text ends within the white space; the rest of it may follow.
            self._echo, self._space = "", self._space[space:]
            self._pending.clear()
            return []
        self._open = False
        pending, self._pending = self._pending, []
        return _without(pending, skip + space)


def _without(deltas: list[TextDelta], characters: int) -> list[TextDelta]:
    """Return the deltas without their first characters, and without the log probabilities of those characters."""
    remaining: list[TextDelta] = []
    for delta in deltas:
        if characters >= len(delta.text):
            characters -= len(delta.text)
        elif characters:
            gone, logprobs = characters, list(delta.logprobs)
            while logprobs and len(logprobs[0]["token"]) <= gone:
                gone -= len(logprobs.pop(0)["token"])
            remaining.append(replace(delta, text=delta.text[characters:], logprobs=tuple(logprobs)))
            characters = 0
        else:
            remaining.append(delta)
    return remaining

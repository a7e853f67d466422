"""Where a text that was cut off goes on: nothing is said twice, whatever the model server begins with."""

from dataclasses import replace

from worker.models.protocol import TextDelta

# A text this long is not begun again word for word by chance.
_ECHO_FROM = 32


class Splice:
    """Makes of a continuation what is still to be shown.

    A model server is given the text without the white space at its end, which would spoil the continuation, so
    that the continuation may begin with it. Some send what they were given along, from its first character on;
    with a grammar llama.cpp does.

    Source: design of continuing on llama.cpp, vLLM and SGLang; measured on the packaged model.
    """

    def __init__(self, shown: str, *, grammar: bool) -> None:
        self.prefix = shown.rstrip()
        self._space = shown[len(self.prefix) :]
        self._echo = self.prefix if grammar or len(self.prefix) >= _ECHO_FROM else ""
        self._pending: list[TextDelta] = []  # what may turn out to be an echo
        self._open = True

    def feed(self, delta: TextDelta) -> list[TextDelta]:
        """What is to be shown of what came so far and was not shown yet."""
        if not self._open:
            return [delta]
        self._pending.append(delta)
        text = "".join(one.text for one in self._pending)
        if len(text) < len(self._echo) and self._echo.startswith(text):
            return []
        return self._join(text)

    def end(self) -> list[TextDelta]:
        """What is still to be shown, now that nothing more comes."""
        return self._join("".join(one.text for one in self._pending)) if self._open else []

    def _join(self, text: str) -> list[TextDelta]:
        skip = len(self._echo) if self._echo and text.startswith(self._echo) else 0
        space = 0
        while space < len(self._space) and text[skip + space : skip + space + 1] == self._space[space]:
            space += 1
        if skip + space == len(text) and space < len(self._space):
            # It ends in the middle of the white space; the rest of it may come yet.
            self._echo, self._space = "", self._space[space:]
            self._pending.clear()
            return []
        self._open = False
        pending, self._pending = self._pending, []
        return _without(pending, skip + space)


def _without(deltas: list[TextDelta], characters: int) -> list[TextDelta]:
    """The deltas without their first characters, and without the logprobs of what is left out."""
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

"""What a model server says, turned into a response's events and its outcome."""

from core import ids, transcript
from core.endings import Outcome, Spent
from core.lifecycle import Status
from core.schemas import document
from worker.model_servers import Finished, Output, TextDelta, Used
from worker.run import Run

# Without a count from the model server: about so many characters make a token.
_CHARACTERS_A_TOKEN = 4

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Answer:
    """The answer of one attempt, as far as it has come."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._message_id: str | None = None
        self._deltas = 0
        self._reason: str | None = None
        self._used: Used | None = None

    def add(self, output: Output) -> None:
        """Take one output of the model server."""
        match output:
            case TextDelta(text):
                message_id = self._message_id or self._open()
                self._run.add_text(message_id, 0, 0, text)
                self._deltas += 1
            case Finished(reason):
                self._reason = reason
            case Used():
                self._used = output

    def _open(self) -> str:
        self._message_id = ids.new("msg")
        self._run.shown = True
        self._run.emit(transcript.open_message(self._message_id, 0))
        return self._message_id

    def outcome(self) -> Outcome:
        """How the response ends, now that the answer is whole."""
        reason = _INCOMPLETE.get(self._reason or "")
        if reason is None and self._message_id is None:
            self._open()  # a model that says nothing answers with an empty message
        spent = self.spent()
        used = self._used or Used(spent.input_tokens, spent.output_tokens)
        return Outcome(
            Status.INCOMPLETE if reason else Status.COMPLETED,
            incomplete_reason=reason,
            usage=document.usage(used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens),
            spent=spent,
        )

    def spent(self) -> Spent:
        """What the attempt used so far: as the model server counted, or estimated."""
        if self._used is not None:
            return Spent(self._used.input_tokens, self._used.output_tokens, estimated=False)
        characters = len(self._run.attempt.request.model_dump_json(include={"input", "instructions"}))
        return Spent(characters // _CHARACTERS_A_TOKEN, self._deltas, estimated=True)

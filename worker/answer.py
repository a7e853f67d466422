"""What a model server says, turned into a response's events and its outcome."""

from core import ids, jsonio, transcript
from core.endings import Outcome, Spent
from core.lifecycle import Status
from core.schemas import document
from core.schemas.items import Item
from core.schemas.tools import CustomTool
from worker.model_servers import Finished, Output, TextDelta, Thinking, ToolCall, Used
from worker.model_servers.chat_request import CUSTOM_INPUT
from worker.run import Run

# Without a count from the model server: about so many characters make a token.
_CHARACTERS_A_TOKEN = 4

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Answer:
    """The answer of one attempt, as far as it has come."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._custom = {tool.name for tool in run.attempt.request.tools if isinstance(tool, CustomTool)}
        self._items = 0  # begun so far; the last one may be open
        self._message_id: str | None = None  # of the open message
        self._text: list[str] = []  # of the open message
        self._deltas = 0
        self._reason: str | None = None
        self._used: Used | None = None

    def add(self, output: Output) -> None:
        """Take one output of the model server."""
        match output:
            case TextDelta(text):
                self._add_text(text)
            case ToolCall():
                self._add_call(output)
            case Finished(reason):
                self._reason = reason
            case Thinking():
                pass
            case Used():
                self._used = output

    def _add_text(self, text: str) -> None:
        message_id = self._message_id or self._open_message()
        self._run.add_text(message_id, self._items - 1, 0, text)
        self._text.append(text)
        self._deltas += 1

    def _open_message(self) -> str:
        self._message_id = ids.new("msg")
        self._run.shown = True
        self._run.emit(transcript.open_message(self._message_id, self._items))
        self._items += 1
        return self._message_id

    def _close_message(self) -> None:
        if self._message_id is not None:
            whole = transcript.message(self._message_id, "".join(self._text), "in_progress")
            self._run.emit(transcript.close_message(whole, self._items - 1, "completed"))
            self._message_id = None
            self._text.clear()

    def _add_call(self, call: ToolCall) -> None:
        self._close_message()
        self._run.shown = True
        self._run.emit(transcript.tool_call(self._item(call), self._items))
        self._items += 1
        self._deltas += 1

    def _item(self, call: ToolCall) -> Item:
        call_id = call.call_id if 0 < len(call.call_id) <= 64 else ids.new("call")[:64]
        common = {"call_id": call_id, "name": call.name, "status": "completed"}
        if call.name in self._custom:
            return {"type": "custom_tool_call", "id": ids.new("ctc"), **common, "input": _custom_input(call.arguments)}
        return {"type": "function_call", "id": ids.new("fc"), **common, "arguments": call.arguments or "{}"}

    def outcome(self) -> Outcome:
        """How the response ends, now that the answer is whole."""
        reason = _INCOMPLETE.get(self._reason or "")
        if reason is None and self._items == 0:
            self._open_message()  # a model that says nothing answers with an empty message
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
        attempt = self._run.attempt
        characters = len(jsonio.dumps(attempt.context)) + len(attempt.request.instructions or "")
        return Spent(characters // _CHARACTERS_A_TOKEN, self._deltas, estimated=True)


def _custom_input(arguments: str) -> str:
    """The free text of a custom tool's call; what is not the one argument asked for is taken as it is."""
    try:
        found = jsonio.loads(arguments)[CUSTOM_INPUT]
    except (ValueError, TypeError, KeyError):
        return arguments
    return found if isinstance(found, str) else arguments

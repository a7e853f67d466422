"""Assembles the tool calls of a chat completion from their pieces."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from core import errors, jsonio
from core.jsonio import JsonObject
from core.wire.base import TEXT_LIMIT
from worker.models.protocol import ToolCall

# Maximum number of tool calls in one answer.
CALLS_LIMIT = 256


@dataclass
class _PartialCall:
    index: int
    id: str = ""
    name_pieces: list[str] = field(default_factory=list)
    argument_pieces: list[str] = field(default_factory=list)


class ToolCallAssembler:
    """Assembles the tool calls of one answer.

    Args:
        tool_names: the names of the tools that were offered to the model.
    """

    def __init__(self, tool_names: Iterable[str]) -> None:
        self._tool_names = frozenset(tool_names)
        self._calls: list[_PartialCall] = []
        self._latest_calls: dict[int, _PartialCall] = {}  # the latest call with each index of the server
        self._length = 0  # of all names and arguments

    def add(self, piece: JsonObject) -> None:
        """Add a piece of a tool call.

        Raises:
            errors.PermanentError: there are too many calls, or their names and arguments are too long in total.
        """
        function = piece.get("function") or {}
        name = function.get("name")
        call = self._find_or_add_call(piece.get("index"), str(piece.get("id") or ""), has_name=bool(name))
        if name:
            call.name_pieces.append(str(name))
            self._length += len(call.name_pieces[-1])
        arguments = function.get("arguments")
        if arguments:
            # Some servers send the arguments as an object instead of as JSON text.
            text = arguments if isinstance(arguments, str) else jsonio.dumps(arguments)
            call.argument_pieces.append(text)
            self._length += len(text)
        if len(self._calls) > CALLS_LIMIT or self._length > TEXT_LIMIT:
            raise errors.PermanentError("The model server made more tool calls than are supported.")

    def complete_calls(self) -> list[ToolCall]:
        """Return all calls in the order of their indexes; an ID that an earlier call has is replaced by an empty ID.

        Raises:
            errors.PermanentError: a call has no tool name.
        """
        ids: set[str] = set()
        tool_calls: list[ToolCall] = []
        for call in sorted(self._calls, key=lambda call: call.index):
            call_id = "" if call.id in ids else call.id
            tool_calls.append(ToolCall(call_id, self._tool_name(call), "".join(call.argument_pieces)))
            ids.add(call.id)
        return tool_calls

    def _find_or_add_call(self, index: object, call_id: str, *, has_name: bool) -> _PartialCall:
        """Return the call to which a piece belongs; add the call if the piece is its first.

        If a server sends no valid index, a new ID starts a new call, and a piece without an ID continues the last
        call. If a server gives all calls the same index, a new ID with a name starts a new call.
        """
        call_index = _parse_index(index)
        if call_index is None:
            last_call = self._calls[-1] if self._calls else None
            if last_call is not None and (not call_id or call_id == last_call.id):
                return last_call
            call_index = len(self._calls)
        else:
            latest_call = self._latest_calls.get(call_index)
            if latest_call is not None and not (has_name and call_id and latest_call.id and call_id != latest_call.id):
                latest_call.id = latest_call.id or call_id
                return latest_call
        call = self._latest_calls[call_index] = _PartialCall(call_index, call_id)
        self._calls.append(call)
        return call

    def _tool_name(self, call: _PartialCall) -> str:
        """Return the tool name of a call; servers repeat it in every piece, or split it over several pieces."""
        if not call.name_pieces:
            raise errors.PermanentError("The model server called a tool without naming it.")
        joined_name = "".join(call.name_pieces)
        for name in (joined_name, *reversed(call.name_pieces)):
            if name in self._tool_names:
                return name
        is_repeated = len(set(call.name_pieces)) == 1
        return call.name_pieces[0] if is_repeated else joined_name


def _parse_index(index: object) -> int | None:
    """Return the server's index of a call; None if it sends none, or a value such as 1e999."""
    try:
        return int(index) if isinstance(index, int | float | str) else None
    except (ValueError, OverflowError):
        return None

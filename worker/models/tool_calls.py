"""The tool calls of a chat completion, put together from the pieces in which servers send them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core import errors, jsonio
from core.wire.base import TEXT_LIMIT
from worker.models.protocol import ToolCall

# More calls than this at once nobody answers.
CALLS_LIMIT = 256


@dataclass
class _Call:
    index: int
    id: str = ""
    names: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


class Calls:
    """The calls of one answer.

    Args:
        offered: the names of the tools that the model was offered.
    """

    def __init__(self, offered: Iterable[str]) -> None:
        self._offered = frozenset(offered)
        self._calls: list[_Call] = []
        self._latest: dict[int, _Call] = {}  # by the server's number
        self._size = 0

    def add(self, piece: dict[str, Any]) -> None:
        """Add a piece.

        Raises:
            errors.Refused: that is more than any model calls.
        """
        function = piece.get("function") or {}
        name = function.get("name")
        call = self._call(piece.get("index"), str(piece.get("id") or ""), named=bool(name))
        if name:
            call.names.append(str(name))
        arguments = function.get("arguments")
        if arguments:
            # Some servers send them as an object and not as the text of one.
            text = arguments if isinstance(arguments, str) else jsonio.dumps(arguments)
            call.arguments.append(text)
            self._size += len(text)
        if len(self._calls) > CALLS_LIMIT or self._size > TEXT_LIMIT:
            raise errors.Refused("The model server calls more tools than can be answered.")

    def complete_outputs(self) -> list[ToolCall]:
        """All calls, in their order, each with an ID of its own or none.

        Raises:
            errors.Refused: a call does not say of what.
        """
        ids: set[str] = set()
        found: list[ToolCall] = []
        for call in sorted(self._calls, key=lambda call: call.index):
            found.append(ToolCall("" if call.id in ids else call.id, self._name(call), "".join(call.arguments)))
            ids.add(call.id)
        return found

    def _call(self, index: Any, call_id: str, *, named: bool) -> _Call:
        """The call that a piece belongs to.

        Some servers number nothing: a new ID is a new call, and what has none goes on with the last. Others give all
        calls one number: a new ID with a name is a new call there, too.
        """
        if index is None:
            last = self._calls[-1] if self._calls else None
            if last is not None and (not call_id or call_id == last.id):
                return last
            number = len(self._calls)
        else:
            number = int(index)
            latest = self._latest.get(number)
            if latest is not None and not (named and call_id and latest.id and call_id != latest.id):
                latest.id = latest.id or call_id
                return latest
        call = self._latest[number] = _Call(number, call_id)
        self._calls.append(call)
        return call

    def _name(self, call: _Call) -> str:
        """A name that comes with every piece, or in pieces itself."""
        if not call.names:
            raise errors.Refused("The model server calls a tool without saying which.")
        joined = "".join(call.names)
        complete_outputs = next((name for name in (joined, *reversed(call.names)) if name in self._offered), None)
        return complete_outputs or (joined if len(set(call.names)) > 1 else call.names[0])

"""Assembles the tool calls of a chat completion from the pieces in which servers send them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from core import errors, jsonio
from core.wire.base import TEXT_LIMIT
from worker.models.protocol import ToolCall

# Maximum number of tool calls in one answer.
CALLS_LIMIT = 256


@dataclass
class _Call:
    index: int
    id: str = ""
    names: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


class Calls:
    """The tool calls of one answer.

    Args:
        offered: the names of the tools that were offered to the model.
    """

    def __init__(self, offered: Iterable[str]) -> None:
        self._offered = frozenset(offered)
        self._calls: list[_Call] = []
        self._latest: dict[int, _Call] = {}  # by the server's index
        self._size = 0

    def add(self, piece: dict[str, Any]) -> None:
        """Add a piece of a tool call.

        Raises:
            errors.Refused: there are too many calls, or their arguments are too long in total.
        """
        function = piece.get("function") or {}
        name = function.get("name")
        call = self._call(piece.get("index"), str(piece.get("id") or ""), named=bool(name))
        if name:
            call.names.append(str(name))
        arguments = function.get("arguments")
        if arguments:
            # Some servers send the arguments as an object instead of as JSON text.
            text = arguments if isinstance(arguments, str) else jsonio.dumps(arguments)
            call.arguments.append(text)
            self._size += len(text)
        if len(self._calls) > CALLS_LIMIT or self._size > TEXT_LIMIT:
            raise errors.Refused("The model server made more tool calls than are supported.")

    def complete(self) -> list[ToolCall]:
        """Return all calls in order; each ID occurs once, and repeated IDs are left empty.

        Raises:
            errors.Refused: a call has no tool name.
        """
        ids: set[str] = set()
        found: list[ToolCall] = []
        for call in sorted(self._calls, key=lambda call: call.index):
            found.append(ToolCall("" if call.id in ids else call.id, self._name(call), "".join(call.arguments)))
            ids.add(call.id)
        return found

    def _call(self, index: Any, call_id: str, *, named: bool) -> _Call:
        """Return the call that a piece belongs to.

        Some servers send no index: then a new ID starts a new call, and a piece without an ID continues the last call.
        Others give all calls the same index: there, too, a new ID with a name starts a new call.
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
        """Return the tool name of a call; servers repeat it in every piece, or split it over several pieces."""
        if not call.names:
            raise errors.Refused("The model server called a tool without naming it.")
        joined = "".join(call.names)
        offered = next((name for name in (joined, *reversed(call.names)) if name in self._offered), None)
        return offered or (joined if len(set(call.names)) > 1 else call.names[0])

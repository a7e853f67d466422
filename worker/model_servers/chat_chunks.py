"""The chunks of a Chat Completions stream, read as what a response needs of them."""

from typing import Any

import orjson

from core import errors
from worker.model_servers import Finished, Output, TextDelta, Thinking, ToolCall, Used

# Why a whole answer ends. Servers also say `abort` or `error`: that answer is not whole.
_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
_CUT = frozenset({"length", "content_filter"})
# More tokens than this nobody counts: it is a server's mistake.
_TOKENS_LIMIT = 2**53
# Of what a server says about an error, this much is passed on.
_SAID = 500


class Chunks:
    """The chunks of one answer; the pieces of its tool calls are kept until each call is whole."""

    def __init__(self) -> None:
        self.finished = False
        self._calls: dict[int, dict[str, str]] = {}

    def read(self, data: bytes) -> list[Output]:
        """The outputs that one chunk completes.

        Raises:
            errors.Refused: it is no chunk of a chat completion, or it says that the server failed.
        """
        try:
            chunk = orjson.loads(data)
            if chunk.get("error"):
                raise errors.Refused(f"The model server failed: {said(data)}")
            outputs: list[Output] = []
            for choice in (chunk.get("choices") or ())[:1]:
                outputs += self._choice(choice)
        except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError, ValueError) as error:
            raise errors.Refused("The model server sent something that is not a chat completion.") from error
        used = _used(chunk.get("usage"))
        return outputs if used is None else [*outputs, used]

    def end(self) -> list[Output]:
        """The outputs that the end completes, where the server did not say why it ended."""
        return [] if self.finished else [*self._whole_calls(), self._finish(None)]

    def _choice(self, choice: dict[str, Any]) -> list[Output]:
        delta = choice.get("delta") or {}
        outputs: list[Output] = []
        if delta.get("content"):
            outputs.append(TextDelta(str(delta["content"])))
        for piece in delta.get("tool_calls") or ():
            self._add(piece)
        if not outputs and (delta.get("tool_calls") or delta.get("reasoning_content") or delta.get("reasoning")):
            outputs.append(Thinking())
        reason = choice.get("finish_reason")
        if reason:
            outputs += self._why(str(reason))
        return outputs

    def _why(self, reason: str) -> list[Output]:
        if reason in _WHOLE:
            return [*self._whole_calls(), self._finish(reason)]
        if reason in _CUT:
            # Cut off, a call is not whole: its arguments are of no use to anybody.
            return [self._finish(reason)]
        raise errors.Refused(f"The model server gave up its answer: {reason[:_SAID]!r}.")

    def _add(self, piece: dict[str, Any]) -> None:
        index = piece.get("index")
        if index is None:
            # Some servers number nothing: a new ID is a new call, and what has none goes on with the last.
            new = piece.get("id") and piece["id"] != (self._calls.get(len(self._calls) - 1) or {}).get("id")
            index = len(self._calls) if new else max(len(self._calls) - 1, 0)
        call = self._calls.setdefault(int(index), {"id": "", "name": "", "arguments": ""})
        function = piece.get("function") or {}
        call["id"] = call["id"] or str(piece.get("id") or "")
        call["name"] = call["name"] or str(function.get("name") or "")
        call["arguments"] += str(function.get("arguments") or "")

    def _whole_calls(self) -> list[Output]:
        calls, self._calls = self._calls, {}
        return [ToolCall(call["id"], call["name"], call["arguments"]) for _, call in sorted(calls.items())]

    def _finish(self, reason: str | None) -> Finished:
        self.finished = True
        return Finished(reason)


def _used(usage: Any) -> Used | None:
    """The counts, or None where they make no sense: an answer is not lost for its bill."""
    try:
        counts = (
            usage["prompt_tokens"],
            usage["completion_tokens"],
            (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
        )
    except (TypeError, KeyError, AttributeError):
        return None
    if not all(isinstance(count, int) and 0 <= count < _TOKENS_LIMIT for count in counts):
        return None
    return Used(*counts)


def said(raw: bytes) -> str:
    """What an error's body says, in whichever of the usual shapes it comes."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw[:_SAID].decode(errors="replace").replace("\0", "")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return str(found)[:_SAID].replace("\0", "")

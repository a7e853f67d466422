"""Prints the events of a response to a terminal as they arrive."""

import re
from typing import Any

import click

_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning summary",
    "response.function_call_arguments.delta": "function call",
    "response.custom_tool_call_input.delta": "custom tool call",
}
# Control characters are replaced: model output must not send escape sequences to the operator's terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Printer:
    """Prints the output that events carry; a label in brackets precedes everything except plain text.

    Attributes:
        status: terminal status of the response; None until it ends.
    """

    def __init__(self) -> None:
        self.status: str | None = None
        self._part: tuple[Any, ...] | None = None
        self._names: dict[int, str] = {}
        self._at_start = True

    def add(self, event: dict[str, Any]) -> None:
        """Print the output that the event adds."""
        kind = event["type"]
        if kind == "response.output_item.added":
            self._names[event["output_index"]] = event["item"].get("name", "")
        elif kind in _DELTAS:
            self._grow(event)
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            self._end(event["response"])

    def _grow(self, event: dict[str, Any]) -> None:
        index = event["output_index"]
        part = (event["type"], index, event.get("content_index"), event.get("summary_index"))
        if part != self._part:
            self._part = part
            self._break()
            words = _DELTAS[event["type"]]
            if words != "text":
                self._say(f"[{' '.join(filter(None, (words, self._names.get(index))))}] ")
        self._say(event["delta"])

    def _end(self, response: dict[str, Any]) -> None:
        self.status = response["status"]
        self._break()
        why = response["error"] or response["incomplete_details"] or {}
        self._say(": ".join(filter(None, (self.status, why.get("code"), why.get("message"), why.get("reason")))) + "\n")

    def _break(self) -> None:
        if not self._at_start:
            self._say("\n")

    def _say(self, text: str) -> None:
        if text:
            click.echo(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text), nl=False)
            self._at_start = text.endswith("\n")

"""Printer for `backburner responses tail`: writes the output in a response's events to the terminal."""

import re
from typing import Any

import click

from core.jsonio import JsonObject

_LABELS_BY_EVENT_TYPE = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning summary",
    "response.function_call_arguments.delta": "function call",
    "response.custom_tool_call_input.delta": "custom tool call",
}
# Control characters are replaced: model output must not send escape sequences to the operator's terminal.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Printer:
    """Prints the output that events contain; a label in brackets precedes each part except output text.

    Attributes:
        status: the terminal status of the response; None until the response ends.
    """

    def __init__(self) -> None:
        self.status: str | None = None
        self._current_part: tuple[Any, ...] | None = None
        self._names: dict[int, str] = {}
        self._at_line_start = True

    def print_event(self, event: JsonObject) -> None:
        """Print the output in an event."""
        kind = event["type"]
        if kind == "response.output_item.added":
            self._names[event["output_index"]] = event["item"].get("name", "")
        elif kind in _LABELS_BY_EVENT_TYPE:
            self._print_delta(event)
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            self._print_end(event["response"])

    def _print_delta(self, event: JsonObject) -> None:
        index = event["output_index"]
        part = (event["type"], index, event.get("content_index"), event.get("summary_index"))
        if part != self._current_part:
            self._current_part = part
            self._start_new_line()
            label = _LABELS_BY_EVENT_TYPE[event["type"]]
            if label != "text":
                name = self._names.get(index)
                self._write_text(f"[{label} {name}] " if name else f"[{label}] ")
        self._write_text(event["delta"])

    def _print_end(self, response: JsonObject) -> None:
        self.status = response["status"]
        self._start_new_line()
        cause = response["error"] or response["incomplete_details"] or {}
        self._write_text(
            ": ".join(filter(None, (self.status, cause.get("code"), cause.get("message"), cause.get("reason")))) + "\n"
        )

    def _start_new_line(self) -> None:
        if not self._at_line_start:
            self._write_text("\n")

    def _write_text(self, text: str) -> None:
        if text:
            click.echo(_CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text), nl=False)
            self._at_line_start = text.endswith("\n")

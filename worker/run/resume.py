"""Decides how an attempt continues from the output that earlier attempts committed, or why it cannot."""

from dataclasses import dataclass, replace
from typing import Any

from core.codes import Code
from core.config.catalog import ModelConfig
from core.runs.attempts import Attempt
from core.runs.ends import Outcome, failed
from core.wire.items import Item
from core.wire.status import Status
from worker.models.protocol import Used
from worker.run import usage

_LOST = "The worker running this response was lost after output had been shown"
_CALLS = frozenset({"function_call", "custom_tool_call"})


@dataclass(frozen=True)
class Plan:
    """The request to the model server that makes its output continue where the committed output ends.

    Args:
        attempt: has the finished items in its context, and the text to continue as its prefix.
        shown: the text to continue, or None.
        cut: whether the open item is closed as incomplete and a new item replaces it.
    """

    attempt: Attempt
    shown: str | None = None
    cut: bool = False


def plan(attempt: Attempt, model: ModelConfig) -> Plan | Outcome:
    """Return how to continue, or the outcome of the response if nothing is left to request or it cannot continue.

    Finished items are never generated again: they become part of the model's input.
    """
    partial_output = attempt.partial_output
    if not partial_output.output:
        return Plan(attempt)
    return _ended(attempt, model) or _go_on(_rest_of(attempt), model)


def _ended(attempt: Attempt, model: ModelConfig) -> Outcome | None:
    """Return the outcome of the response if nothing more is to be requested."""
    partial_output = attempt.partial_output
    if model.on_worker_lost == "fail":
        return failed(Code.SERVER_ERROR, f"{_LOST}.")
    if not partial_output.open and partial_output.output[-1]["type"] in _CALLS:
        # Tool calls are written only after the model server has ended its turn with them.
        return Outcome(Status.COMPLETED, cause="the tool calls were complete", usage=_usage(attempt))
    limit = attempt.request.max_output_tokens
    if limit is not None and attempt.tokens >= limit:
        return Outcome(Status.INCOMPLETE, incomplete_reason="max_output_tokens", usage=_usage(attempt))
    return None


def _go_on(attempt: Attempt, model: ModelConfig) -> Plan | Outcome:
    partial_output = attempt.partial_output
    last, is_open = partial_output.output[-1], bool(partial_output.open)
    if model.on_worker_lost == "restart" or last["type"] == "reasoning":
        return Plan(attempt, cut=is_open)
    if is_open and _can_continue(model, last):
        text = _text(last)
        return Plan(replace(attempt, prefix=text.rstrip()), text)
    return failed(Code.SERVER_ERROR, f"{_LOST}, and the partial output cannot be continued.")


def not_continued(text: str) -> Outcome:
    """Return the outcome of a response whose model server does not continue the text it is given."""
    return failed(Code.SERVER_ERROR, f"{_LOST}, and the model server does not continue it: {text}")


def _can_continue(model: ModelConfig, item: Item) -> bool:
    if model.api != "chat_completions" or model.lacks("continue"):
        return False
    return all(part["type"] == "output_text" for part in item["content"])


def _text(item: Item) -> str:
    return "".join(part["text"] for part in item["content"])


def _rest_of(attempt: Attempt) -> Attempt:
    finished = [
        item for index, item in enumerate(attempt.partial_output.output) if index not in attempt.partial_output.open
    ]
    request = attempt.request
    if request.max_output_tokens is not None:
        request = request.model_copy(update={"max_output_tokens": request.max_output_tokens - attempt.tokens})
    return replace(attempt, request=request, context=[*attempt.context, *finished])


def _usage(attempt: Attempt) -> dict[str, Any]:
    return usage.of_response(attempt, Used(usage.estimated_input(attempt), 0))

"""Decides how an attempt continues the output that earlier attempts committed, or why it cannot."""

from dataclasses import dataclass, replace

from core.codes import Code
from core.config.catalog import ModelConfig
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from core.runs.ends import Outcome, failed_outcome
from core.wire import Item
from core.wire.status import Status
from worker.models.apis import can_continue_text
from worker.models.protocol import TokenUsage
from worker.run import usage

_LOST_MESSAGE = "The worker running this response was lost after output had been shown"
_CALL_TYPES = frozenset({"function_call", "custom_tool_call"})


@dataclass(frozen=True)
class Plan:
    """How an attempt continues at the end of the committed output.

    Args:
        attempt: the attempt with the finished items in its context, and with the text to continue as its prefix.
        text: the text to continue, or None.
        closes_open_item: whether the open item is closed as incomplete, so that the model server begins a new item.
    """

    attempt: Attempt
    text: str | None = None
    closes_open_item: bool = False


def plan_attempt(attempt: Attempt, model: ModelConfig) -> Plan | Outcome:
    """Return the plan for the attempt, or the outcome if the response is already complete or cannot continue.

    Finished items are not generated again, but become part of the model's input.
    """
    partial_output = attempt.partial_output
    if not partial_output.output:
        return Plan(attempt)
    return _final_outcome(attempt, model) or _plan_continuation(_remaining_attempt(attempt), model)


def _final_outcome(attempt: Attempt, model: ModelConfig) -> Outcome | None:
    """Return the outcome of a response for which no further request is sent, or None."""
    partial_output = attempt.partial_output
    if model.on_worker_lost == "fail":
        return failed_outcome(Code.SERVER_ERROR, f"{_LOST_MESSAGE}.")
    if not partial_output.open and partial_output.output[-1]["type"] in _CALL_TYPES:
        # The worker writes tool calls only after the model server has ended its turn, so they are complete.
        return Outcome(Status.COMPLETED, cause="the tool calls were complete", usage=_response_usage(attempt))
    limit = attempt.request.max_output_tokens
    if limit is not None and attempt.partial_output_tokens >= limit:
        return Outcome(Status.INCOMPLETE, incomplete_reason="max_output_tokens", usage=_response_usage(attempt))
    return None


def _plan_continuation(attempt: Attempt, model: ModelConfig) -> Plan | Outcome:
    partial_output = attempt.partial_output
    last_item, is_open = partial_output.output[-1], bool(partial_output.open)
    if model.on_worker_lost == "restart" or last_item["type"] == "reasoning":
        return Plan(attempt, closes_open_item=is_open)
    if is_open and _can_continue(model, last_item):
        text = _item_text(last_item)
        return Plan(replace(attempt, prefix=text.rstrip()), text)
    return failed_outcome(Code.SERVER_ERROR, f"{_LOST_MESSAGE}, and the partial output cannot be continued.")


def continuation_failure(server_message: str) -> Outcome:
    """Return the outcome of a response with a partial text that the model server cannot continue.

    Args:
        server_message: the error message of the model server.
    """
    return failed_outcome(
        Code.SERVER_ERROR, f"{_LOST_MESSAGE}, and the model server does not continue it: {server_message}"
    )


def _can_continue(model: ModelConfig, item: Item) -> bool:
    return can_continue_text(model) and all(part["type"] == "output_text" for part in item["content"])


def _item_text(item: Item) -> str:
    return "".join(part["text"] for part in item["content"])


def _remaining_attempt(attempt: Attempt) -> Attempt:
    """Return the attempt with the finished items in its context and with the remaining number of output tokens."""
    finished_items = [
        item for index, item in enumerate(attempt.partial_output.output) if index not in attempt.partial_output.open
    ]
    request = attempt.request
    if request.max_output_tokens is not None:
        request = request.model_copy(
            update={"max_output_tokens": request.max_output_tokens - attempt.partial_output_tokens}
        )
    return replace(attempt, request=request, context=[*attempt.context, *finished_items])


def _response_usage(attempt: Attempt) -> JsonObject:
    return usage.response_usage(attempt, TokenUsage(usage.estimated_input_tokens(attempt), 0))

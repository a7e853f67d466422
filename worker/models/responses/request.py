"""Converts the request of a response to a request to a model server that speaks the Responses API itself."""

from typing import Any

from core.config.catalog import ModelConfig
from core.wire.items import Item
from core.wire.request import CreateResponse, PlainFormat
from core.wire.tools import CustomTool, FunctionTool, NamedChoice
from worker.models import tools
from worker.models.parts import words

_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def body(model: ModelConfig, name: str, request: CreateResponse, context: list[Item]) -> dict[str, Any]:
    """Return the body of the request; most fields that have the API's default value are omitted.

    Args:
        model: configuration of the model.
        name: the name of the model on the model server.
        request: the request of the response.
        context: all items of the model's input.
    """
    thinks = "reasoning" in model.supports
    sent: dict[str, Any] = {
        "model": name,
        "input": [_item(item) for item in context if _shown(item, thinks=thinks)],
        "stream": True,
        "store": False,
    }
    optional = {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "reasoning": request.reasoning.model_dump(exclude_none=True) if request.reasoning else None,
        "text": _text(request) or None,
        "include": _include(request, thinks=thinks) or None,
        "top_logprobs": request.top_logprobs or None,
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
    }
    # Reasoning models of hosted APIs reject these parameters even with their default value.
    for sampling in ("temperature", "top_p"):
        value = getattr(request, sampling)
        optional[sampling] = None if thinks and value == 1 else value
    return (
        sent
        | {name: value for name, value in optional.items() if value is not None}
        | tools.tool_parameters(request, _tool, NamedChoice.model_dump)
    )


def _shown(item: Item, *, thinks: bool) -> bool:
    """Return whether to send an item: no items of hosted tools, and reasoning only if the model takes it back."""
    if item["type"] == "reasoning":
        return thinks and bool(item.get("encrypted_content") or item.get("content"))
    return item["type"] == "message" or item["type"] in _CALLS | _OUTPUTS


def _item(item: Item) -> Item:
    """Return an item without its ID and status: the model server would look up our ID among its own items."""
    fields = {name: value for name, value in item.items() if name not in {"id", "status"} and value is not None}
    for parts in ("content", "output"):
        if isinstance(fields.get(parts), list) and item["type"] != "reasoning":
            fields[parts] = [_part(part) for part in fields[parts]]
    return fields


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part in the format of requests; a file whose text was extracted here becomes a text part."""
    if part["type"] == "input_file" and "text" in part:
        return {"type": "input_text", "text": words(part)}
    return {name: value for name, value in part.items() if name != "logprobs"}


def _text(request: CreateResponse) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not isinstance(request.text.format, PlainFormat):
        found["format"] = request.text.format.model_dump(by_alias=True, exclude_none=True)
    if request.text.verbosity != "medium":
        found["verbosity"] = request.text.verbosity
    return found


def _include(request: CreateResponse, *, thinks: bool) -> list[str]:
    """Return the optional data to include in the answer.

    This includes encrypted reasoning, which must be sent back in later turns because the model server stores nothing.
    """
    found = []
    if thinks or "reasoning.encrypted_content" in request.include:
        found.append("reasoning.encrypted_content")
    if request.wants_logprobs:
        found.append("message.output_text.logprobs")
    return found


def _tool(tool: FunctionTool | CustomTool) -> dict[str, Any]:
    return tool.model_dump(exclude_none=True) | (
        {"parameters": tool.parameters or {"type": "object", "properties": {}}}
        if isinstance(tool, FunctionTool)
        else {}
    )

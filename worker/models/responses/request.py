"""Converts the request of a response to a request to a model server with the Responses API."""

from core.config.catalog import ModelConfig
from core.context.parts import part_text
from core.jsonio import JsonObject
from core.wire import Item, Part
from core.wire.request import CreateResponse, PlainFormat
from core.wire.tools import CustomTool, FunctionTool, NamedChoice
from worker.models import tools

_CALL_TYPES = frozenset({"function_call", "custom_tool_call"})
_OUTPUT_TYPES = frozenset({"function_call_output", "custom_tool_call_output"})


def request_body(model: ModelConfig, model_name: str, request: CreateResponse, context: list[Item]) -> JsonObject:
    """Return the body of the request; most fields with the API's default value are omitted.

    Args:
        model: configuration of the model.
        model_name: the name of the model on the model server.
        request: the request of the response.
        context: all items of the model's input.
    """
    with_reasoning = "reasoning" in model.supports
    body: JsonObject = {
        "model": model_name,
        "input": [_convert_item(item) for item in context if _should_send(item, with_reasoning=with_reasoning)],
        "stream": True,
        "store": False,
    }
    optional_fields = {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "reasoning": request.reasoning.model_dump(exclude_none=True) if request.reasoning else None,
        "text": _text_options(request) or None,
        "include": _included_fields(request, with_reasoning=with_reasoning) or None,
        "top_logprobs": request.top_logprobs or None,
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
    }
    # Reasoning models of hosted APIs reject these parameters, even if they have the default value.
    for parameter in ("temperature", "top_p"):
        value = getattr(request, parameter)
        optional_fields[parameter] = None if with_reasoning and value == 1 else value
    return (
        body
        | {name: value for name, value in optional_fields.items() if value is not None}
        | tools.tool_parameters(request, _convert_tool, NamedChoice.model_dump)
    )


def _should_send(item: Item, *, with_reasoning: bool) -> bool:
    """Return whether to send an item: items of hosted tools are never sent, reasoning only if the model supports it."""
    if item["type"] == "reasoning":
        return with_reasoning and bool(item.get("encrypted_content") or item.get("content"))
    return item["type"] == "message" or item["type"] in _CALL_TYPES | _OUTPUT_TYPES


def _convert_item(item: Item) -> Item:
    """Return an item without its ID and status, because the model server would look up our ID in its own database."""
    fields = {name: value for name, value in item.items() if name not in {"id", "status"} and value is not None}
    for name in ("content", "output"):
        if isinstance(fields.get(name), list) and item["type"] != "reasoning":
            fields[name] = [_convert_part(part) for part in fields[name]]
    return fields


def _convert_part(part: Part) -> JsonObject:
    """Return a part in the format of requests; a file with an extracted text becomes a text part."""
    if part["type"] == "input_file" and "text" in part:
        return {"type": "input_text", "text": part_text(part)}
    return {name: value for name, value in part.items() if name != "logprobs"}


def _text_options(request: CreateResponse) -> JsonObject:
    options: JsonObject = {}
    if not isinstance(request.text.format, PlainFormat):
        options["format"] = request.text.format.model_dump(by_alias=True, exclude_none=True)
    if request.text.verbosity != "medium":
        options["verbosity"] = request.text.verbosity
    return options


def _included_fields(request: CreateResponse, *, with_reasoning: bool) -> list[str]:
    """Return the optional data to include in the answer.

    The model server stores nothing, so its encrypted reasoning is included in the answer and sent back in later turns.
    """
    fields = []
    if with_reasoning or "reasoning.encrypted_content" in request.include:
        fields.append("reasoning.encrypted_content")
    if request.includes_logprobs:
        fields.append("message.output_text.logprobs")
    return fields


def _convert_tool(tool: FunctionTool | CustomTool) -> JsonObject:
    fields = tool.model_dump(exclude_none=True)
    if isinstance(tool, FunctionTool):
        fields["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return fields

"""Checks that a model has the capabilities that a request needs, according to its configuration."""

from collections.abc import Iterator, Sequence

from core import errors
from core.config.catalog import Capability, ModelConfig
from core.wire import Item
from core.wire.request import CreateResponse, SchemaFormat
from core.wire.tools import CustomTool, FunctionTool


def check_request(request: CreateResponse, model: ModelConfig) -> None:
    """Check that the model is not known to lack a capability that the request needs.

    Raises:
        errors.InvalidRequest: the model lacks a capability; the error names the parameter that needs it.
    """
    for param, capability in _required_capabilities(request):
        if model.lacks(capability):
            raise errors.InvalidRequest(
                f"'{param}' is not supported with the model '{request.model}': it lacks '{capability}'.",
                param=param,
                code="unsupported_parameter",
            )


def _required_capabilities(request: CreateResponse) -> Iterator[tuple[str, Capability]]:
    """Yield each parameter of a request that needs a capability of the model, with that capability."""
    # Hosted tools are not offered to the model, so they need no capability.
    if request.tool_choice != "none" and any(isinstance(tool, FunctionTool | CustomTool) for tool in request.tools):
        yield "tools", "tools"
    if isinstance(request.text.format, SchemaFormat):
        yield "text.format", "json_schema"
    if request.top_logprobs:
        yield "top_logprobs", "logprobs"
    elif request.includes_logprobs:
        yield "include", "logprobs"
    reasoning = request.reasoning
    if reasoning is not None and reasoning.effort not in {None, "none"}:
        yield "reasoning.effort", "reasoning"
    if reasoning is not None and reasoning.requested_summary is not None:
        yield "reasoning.summary", "reasoning"
    if request.includes_sealed_reasoning:
        yield "include", "reasoning"
    yield from _image_capabilities(request)


def check_context(items: Sequence[Item], input_count: int, model_name: str, model: ModelConfig) -> None:
    """Check that the context contains no image if the model is known not to support images.

    Args:
        input_count: number of items at the end of the context that are the request's input.

    Raises:
        errors.InvalidRequest: the context contains an image; the error names the parameter that adds the image.
    """
    if not model.lacks("images"):
        return
    for position, item in enumerate(items):
        parts = item.get("content") or item.get("output")
        if isinstance(parts, list) and any(part.get("type") == "input_image" for part in parts):
            param = "input" if position >= len(items) - input_count else "previous_response_id"
            raise errors.InvalidRequest(
                f"'{param}' adds an image to the context, but the model '{model_name}' lacks 'images'.",
                param=param,
                code="unsupported_parameter",
            )


def _image_capabilities(request: CreateResponse) -> Iterator[tuple[str, Capability]]:
    for position, item in enumerate(request.input if isinstance(request.input, list) else ()):
        for key in ("content", "output"):
            parts = getattr(item, key, None)
            for part_position, part in enumerate(parts if isinstance(parts, list | tuple) else ()):
                if getattr(part, "type", None) == "input_image":
                    yield f"input[{position}].{key}[{part_position}]", "images"

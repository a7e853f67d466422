"""Rules that involve several parameters of a create. All are checked before anything is stored.

Source: the API reference, and the parts of its messages that clients' test suites match.
"""

from collections.abc import Iterable
from typing import Any

from core import errors
from core.wire import json_schema
from core.wire.items import Item
from core.wire.request import CreateResponse, SchemaFormat
from core.wire.tools import AllowedTools, FunctionTool, HostedChoice, NamedChoice


def check(request: CreateResponse) -> None:
    """Check that the parameters are consistent.

    Raises:
        errors.InvalidRequest: a required parameter is missing, or two parameters conflict; the error names the one
            that comes later in the reference.
    """
    if request.model is None:
        raise errors.InvalidRequest(
            "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
        )
    if request.background and not request.store:
        raise errors.InvalidRequest(
            "background can only be used when `store` is true (background=true requires store=true).",
            param="background",
            code="unsupported_parameter",
        )
    if request.input is None and request.previous_response_id is None and request.prompt is None:
        raise errors.InvalidRequest(
            "Missing required parameter: 'input'.", param="input", code="missing_required_parameter"
        )
    if request.stream_options is not None and not request.stream:
        raise errors.InvalidRequest("'stream_options' needs stream=true.", param="stream_options")
    if request.prompt_cache_options is not None and request.prompt_cache_options.prewarm:
        param = "prompt_cache_options.prewarm"
        raise errors.InvalidRequest(f"'{param}' is not supported.", param=param, code="unsupported_parameter")
    _check_window(request)
    _check_tools(request)
    json_schema.check(_schemas(request))


def _schemas(request: CreateResponse) -> dict[str, dict[str, Any]]:
    """The JSON Schemas of a request, by the parameter that contains each."""
    found = {
        f"tools[{position}].parameters": tool.parameters
        for position, tool in enumerate(request.tools)
        if isinstance(tool, FunctionTool) and tool.parameters is not None
    }
    shape = request.text.format
    return found | ({"text.format.schema": shape.schema_} if isinstance(shape, SchemaFormat) else {})


def _check_window(request: CreateResponse) -> None:
    options = request.background_options
    if options is None or options.completion_window == "soonest":
        return
    param = "background_options.completion_window"
    if not request.background:
        raise errors.InvalidRequest("A completion window needs background=true.", param=param)
    if request.stream:
        raise errors.InvalidRequest("A completion window cannot be streamed: leave out stream=true.", param=param)
    if request.service_tier not in {None, "auto", "default", "flex"}:
        raise errors.InvalidRequest("A completion window needs the service tier 'auto' or 'default'.", param=param)


def _check_tools(request: CreateResponse) -> None:
    names = [(tool.type, getattr(tool, "name", None)) for tool in request.tools]
    own = [name for kind, name in names if kind in {"function", "custom"}]
    for position, name in enumerate(own):
        if name in own[:position]:
            raise errors.InvalidRequest(f"There are two tools named '{name}'.", param="tools")
    choice = request.tool_choice
    if isinstance(choice, NamedChoice) and (choice.type, choice.name) not in names:
        raise errors.InvalidRequest(f"Tool choice '{choice.name}' not found in 'tools' parameter.", param="tool_choice")
    if isinstance(choice, HostedChoice) and choice.type not in {kind for kind, _ in names}:
        raise errors.InvalidRequest(f"Tool choice '{choice.type}' not found in 'tools' parameter.", param="tool_choice")
    if choice == "required" and not names:
        raise errors.InvalidRequest("tool_choice 'required' needs at least one tool in 'tools'.", param="tool_choice")
    if isinstance(choice, AllowedTools):
        for allowed in choice.tools:
            _check_allowed(allowed.model_dump(), names)


def _check_allowed(allowed: dict[str, Any], names: list[tuple[str, Any]]) -> None:
    kind, name = allowed.get("type"), allowed.get("name")
    known = (kind, name) in names if kind in {"function", "custom"} else kind in {found for found, _ in names}
    if not known:
        raise errors.InvalidRequest(
            f"Allowed tool '{name or kind}' not found in 'tools' parameter.", param="tool_choice"
        )


def check_calls(context: Iterable[Item]) -> None:
    """Check that every tool call output follows its tool call.

    Raises:
        errors.InvalidRequest: an output has no preceding call.
    """
    calls: set[tuple[str, str]] = set()
    for item in context:
        kind = item["type"]
        if kind in {"function_call", "custom_tool_call"}:
            calls.add((f"{kind}_output", item["call_id"]))
        elif kind in {"function_call_output", "custom_tool_call_output"} and (kind, item["call_id"]) not in calls:
            words = kind.removesuffix("_output").replace("_", " ")
            raise errors.InvalidRequest(
                f"No tool call found for {words} output with call_id {item['call_id']}.", param="input"
            )

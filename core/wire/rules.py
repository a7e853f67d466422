"""Rules that involve several parameters of a create request. They are checked before anything is stored.

Source: the API reference, and the parts of its error messages that clients' test suites match.
"""

from collections.abc import Iterable
from typing import Any

from core import errors
from core.jsonio import JsonObject
from core.wire import Item, json_schema
from core.wire.request import CreateResponse, SchemaFormat
from core.wire.tools import AllowedTools, FunctionTool, HostedChoice, NamedChoice


def check_parameters(request: CreateResponse) -> None:
    """Check that the parameters are consistent.

    Raises:
        errors.InvalidRequest: a required parameter is missing, two parameters conflict, or a JSON Schema is invalid.
            The error names one parameter.
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
    _check_completion_window(request)
    _check_tools(request)
    json_schema.check_schemas(_schemas(request))


def _schemas(request: CreateResponse) -> dict[str, JsonObject]:
    """Return the JSON Schemas of a request, by parameter."""
    schemas = {
        f"tools[{position}].parameters": tool.parameters
        for position, tool in enumerate(request.tools)
        if isinstance(tool, FunctionTool) and tool.parameters is not None
    }
    text_format = request.text.format
    if isinstance(text_format, SchemaFormat):
        schemas["text.format.schema"] = text_format.schema_
    return schemas


def _check_completion_window(request: CreateResponse) -> None:
    options = request.background_options
    if options is None or options.completion_window == "soonest":
        return
    param = "background_options.completion_window"
    if not request.background:
        raise errors.InvalidRequest("A completion window needs background=true.", param=param)
    if request.stream:
        raise errors.InvalidRequest("A completion window cannot be streamed: leave out stream=true.", param=param)
    if request.service_tier not in {None, "auto", "default", "flex"}:
        raise errors.InvalidRequest(
            "A completion window needs the service tier 'auto', 'default' or 'flex'.", param=param
        )


def _check_tools(request: CreateResponse) -> None:
    tools = [(tool.type, getattr(tool, "name", None)) for tool in request.tools]
    client_tool_names = [name for kind, name in tools if kind in {"function", "custom"}]
    for position, name in enumerate(client_tool_names):
        if name in client_tool_names[:position]:
            raise errors.InvalidRequest(f"There are two tools named '{name}'.", param="tools")
    choice = request.tool_choice
    if isinstance(choice, NamedChoice) and (choice.type, choice.name) not in tools:
        raise errors.InvalidRequest(f"Tool choice '{choice.name}' not found in 'tools' parameter.", param="tool_choice")
    if isinstance(choice, HostedChoice) and choice.type not in {kind for kind, _ in tools}:
        raise errors.InvalidRequest(f"Tool choice '{choice.type}' not found in 'tools' parameter.", param="tool_choice")
    if choice == "required" and not tools:
        raise errors.InvalidRequest("tool_choice 'required' needs at least one tool in 'tools'.", param="tool_choice")
    if isinstance(choice, AllowedTools):
        for allowed_tool in choice.tools:
            _check_allowed_tool(allowed_tool.model_dump(), tools)


def _check_allowed_tool(allowed_tool: JsonObject, tools: list[tuple[str, Any]]) -> None:
    kind, name = allowed_tool.get("type"), allowed_tool.get("name")
    if kind in {"function", "custom"}:
        is_listed = (kind, name) in tools
    else:
        is_listed = kind in {tool_kind for tool_kind, _ in tools}
    if not is_listed:
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
            call_kind = kind.removesuffix("_output").replace("_", " ")
            raise errors.InvalidRequest(
                f"No tool call found for {call_kind} output with call_id {item['call_id']}.", param="input"
            )

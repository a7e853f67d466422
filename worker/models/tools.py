"""Selects the tools and the tool choice that a request to a model server contains."""

from collections.abc import Callable
from typing import Any

from core.jsonio import JsonObject
from core.wire.request import CreateResponse
from core.wire.tools import AllowedTools, CustomTool, FunctionTool, NamedChoice

OfferedTool = FunctionTool | CustomTool
# If a model server supports only function tools, a custom tool is offered as a function with this single argument,
# which contains the free-text input of the tool.
CUSTOM_INPUT = "input"


def tool_parameters(
    request: CreateResponse,
    convert_tool: Callable[[OfferedTool], JsonObject],
    convert_choice: Callable[[NamedChoice], JsonObject],
) -> JsonObject:
    """Return the fields of a model server request that concern tools; empty if no tools are offered.

    Args:
        request: the request of the response.
        convert_tool: converts a tool to the format of the model server's API.
        convert_choice: converts the choice of one tool to the format of the model server's API.
    """
    tools = _allowed_tools(request)
    if not tools:
        return {}
    choice = request.tool_choice
    if isinstance(choice, NamedChoice):
        tool_choice: Any = convert_choice(choice)
    elif isinstance(choice, AllowedTools):
        tool_choice = choice.mode
    else:
        tool_choice = choice if isinstance(choice, str) else "auto"
    return {
        "tools": [convert_tool(tool) for tool in tools],
        "tool_choice": tool_choice,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _allowed_tools(request: CreateResponse) -> list[OfferedTool]:
    """Return the allowed function tools and custom tools; empty if the tool choice is `none`."""
    choice = request.tool_choice
    tools = [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
    if isinstance(choice, AllowedTools):
        allowed_tools = [tool.model_dump() for tool in choice.tools]
        allowed_names = {(tool.get("type"), tool.get("name")) for tool in allowed_tools}
        tools = [tool for tool in tools if (tool.type, tool.name) in allowed_names]
    return [] if choice == "none" else tools

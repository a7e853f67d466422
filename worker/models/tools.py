"""Selects the tools of a request that are offered to the model, and the tool choice."""

from collections.abc import Callable
from typing import Any

from core.wire.request import CreateResponse
from core.wire.tools import AllowedTools, CustomTool, FunctionTool, NamedChoice

Offered = FunctionTool | CustomTool
# The input of a custom tool is free text; it is the single argument with this name wherever calls carry arguments, as
# they do for servers that support only function tools.
CUSTOM_INPUT = "input"


def tool_parameters(
    request: CreateResponse, tool: Callable[[Offered], dict[str, Any]], named: Callable[[NamedChoice], dict[str, Any]]
) -> dict[str, Any]:
    """Return the fields of a model server request that concern tools; empty if no tools are offered.

    Args:
        request: the request of the response.
        tool: converts a tool to the format of the model server's API.
        named: converts the choice of one tool to the format of the model server's API.
    """
    found = _tools(request)
    if not found:
        return {}
    choice = request.tool_choice
    if isinstance(choice, NamedChoice):
        chosen: Any = named(choice)
    elif isinstance(choice, AllowedTools):
        chosen = choice.mode
    else:
        chosen = choice if isinstance(choice, str) else "auto"
    return {
        "tools": [tool(one) for one in found],
        "tool_choice": chosen,
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _tools(request: CreateResponse) -> list[Offered]:
    """Return the allowed function tools and custom tools; empty if the tool choice is `none`."""
    choice = request.tool_choice
    found = [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
    if isinstance(choice, AllowedTools):
        allowed = [one.model_dump() for one in choice.tools]
        wanted = {(one.get("type"), one.get("name")) for one in allowed}
        found = [tool for tool in found if (tool.type, tool.name) in wanted]
    return [] if choice == "none" else found

"""Which tools of a request the model is offered, and how it must choose."""

from collections.abc import Callable
from typing import Any

from core.wire.request import CreateResponse
from core.wire.tools import AllowedTools, CustomTool, FunctionTool, NamedChoice

Offered = FunctionTool | CustomTool


def tool_parameters(
    request: CreateResponse, tool: Callable[[Offered], dict[str, Any]], named: Callable[[NamedChoice], dict[str, Any]]
) -> dict[str, Any]:
    """What a request to a model server says of tools; nothing where it offers none.

    Args:
        tool: a tool in the words of its API.
        named: the choice of one tool in the words of its API.
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
    """Functions and custom tools, and of those the allowed ones; none where the model is to call none."""
    choice = request.tool_choice
    found = [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
    if isinstance(choice, AllowedTools):
        allowed = [one.model_dump() for one in choice.tools]
        wanted = {(one.get("type"), one.get("name")) for one in allowed}
        found = [tool for tool in found if (tool.type, tool.name) in wanted]
    return [] if choice == "none" else found

"""Which tools of a request the model is offered."""

from core.schemas.request import CreateResponse
from core.schemas.tools import AllowedTools, CustomTool, FunctionTool


def tools(request: CreateResponse) -> list[FunctionTool | CustomTool]:
    """Functions and custom tools, and of those the allowed ones; none where the model is to call none."""
    choice = request.tool_choice
    found = [tool for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)]
    if isinstance(choice, AllowedTools):
        allowed = [one.model_dump() for one in choice.tools]
        wanted = {(one.get("type"), one.get("name")) for one in allowed}
        found = [tool for tool in found if (tool.type, tool.name) in wanted]
    return [] if choice == "none" else found

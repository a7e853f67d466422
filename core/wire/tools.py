"""Tools that a model may call, and the tool choice."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from core.jsonio import JsonObject
from core.wire.base import Name, Open, Strict, read_type, tag

# Types of tools that OpenAI's hosted API runs itself. They are echoed, so that clients of that API continue to work,
# but they are not offered to the model.
HOSTED_TYPES = (
    "file_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "computer",
    "computer_use_preview",
    "code_interpreter",
    "image_generation",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "namespace",
    "tool_search",
    "programmatic_tool_calling",
)


class FunctionTool(Strict):
    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool = True

    def echo(self) -> JsonObject:
        """Return the tool as the response object shows it: with every key."""
        return self.model_dump()


class CustomTool(Strict):
    """A tool with free-form text input. `format` is echoed, but its grammar is not enforced."""

    type: Literal["custom"]
    name: Name
    description: str | None = None
    format: JsonObject | None = None

    def echo(self) -> JsonObject:
        """Return the tool as the response object shows it: without keys that are null."""
        return self.model_dump(exclude_none=True)


class HostedTool(Open):
    type: str

    def echo(self) -> JsonObject:
        """Return the tool as the client sent it."""
        return self.model_dump()


def _tool_branch(value: Any) -> str:
    kind = read_type(value, "function")
    return tag("hosted" if kind in HOSTED_TYPES else str(kind))


Tool = Annotated[
    Annotated[FunctionTool, Tag(tag("function"))]
    | Annotated[CustomTool, Tag(tag("custom"))]
    | Annotated[HostedTool, Tag(tag("hosted"))],
    Discriminator(_tool_branch, custom_error_type="unknown_tool", custom_error_message="a known tool type"),
]


class NamedChoice(Strict):
    """The model must call this tool."""

    type: Literal["function", "custom"]
    name: Name


class AllowedTool(Open):
    type: str
    name: str | None = None


class AllowedTools(Strict):
    """The model may (`auto`) or must (`required`) call one of these tools, and no other tool."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1, max_length=128)]


class HostedChoice(Open):
    """The model should use a hosted tool. This choice has no effect: hosted tools are not offered to the model."""

    type: str


def _choice_branch(value: Any) -> str:
    kind = read_type(value, "mode")
    if kind in ("function", "custom"):  # not a set: an unhashable value would raise
        return tag("named")
    if kind in HOSTED_TYPES:
        return tag("hosted")
    return tag(str(kind))


ChoiceMode = Literal["none", "auto", "required"]
ToolChoice = Annotated[
    Annotated[ChoiceMode, Tag(tag("mode"))]
    | Annotated[NamedChoice, Tag(tag("named"))]
    | Annotated[AllowedTools, Tag(tag("allowed_tools"))]
    | Annotated[HostedChoice, Tag(tag("hosted"))],
    Discriminator(
        _choice_branch, custom_error_type="unknown_choice", custom_error_message="a known tool type or 'allowed_tools'"
    ),
]

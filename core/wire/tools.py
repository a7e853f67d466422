"""Tools that a model may call, and the tool choice."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from core.wire.base import Name, Open, Strict, kind_of, tag

# Tools that a hosted API runs itself. They are echoed, so that clients written for it keep working, but they are not
# offered to the model.
HOSTED = (
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
    parameters: dict[str, Any] | None = None
    strict: bool = True

    def echo(self) -> dict[str, Any]:
        """The tool in the form the response object shows: with every key."""
        return self.model_dump()


class CustomTool(Strict):
    """A tool with free-form text input. `format` is echoed, but no grammar is enforced."""

    type: Literal["custom"]
    name: Name
    description: str | None = None
    format: dict[str, Any] | None = None

    def echo(self) -> dict[str, Any]:
        """The tool in the form the response object shows."""
        return self.model_dump(exclude_none=True)


class HostedTool(Open):
    type: str

    def echo(self) -> dict[str, Any]:
        """The tool as the client sent it."""
        return self.model_dump()


def _kind(value: Any) -> str:
    kind = kind_of(value, "function")
    return tag("hosted" if kind in HOSTED else str(kind))


Tool = Annotated[
    Annotated[FunctionTool, Tag(tag("function"))]
    | Annotated[CustomTool, Tag(tag("custom"))]
    | Annotated[HostedTool, Tag(tag("hosted"))],
    Discriminator(_kind, custom_error_type="unknown_tool", custom_error_message="a known tool type"),
]


class NamedChoice(Strict):
    """The model must call this tool."""

    type: Literal["function", "custom"]
    name: Name


class AllowedTool(Open):
    type: str
    name: str | None = None


class AllowedTools(Strict):
    """The model may (`auto`) or must (`required`) call one of these tools, and no other."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1, max_length=128)]


class HostedChoice(Open):
    """The model should use a hosted tool. Because hosted tools are not offered to the model, it chooses freely."""

    type: str


def _choice(value: Any) -> str:
    kind = kind_of(value, "word")
    if kind in ("function", "custom"):  # not a set: an unhashable value would raise
        return tag("named")
    if kind in HOSTED:
        return tag("hosted")
    return tag(str(kind))


Word = Literal["none", "auto", "required"]
ToolChoice = Annotated[
    Annotated[Word, Tag(tag("word"))]
    | Annotated[NamedChoice, Tag(tag("named"))]
    | Annotated[AllowedTools, Tag(tag("allowed_tools"))]
    | Annotated[HostedChoice, Tag(tag("hosted"))],
    Discriminator(
        _choice, custom_error_type="unknown_choice", custom_error_message="a known tool type or 'allowed_tools'"
    ),
]

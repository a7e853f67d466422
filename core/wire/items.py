"""Input and output items of a response in the wire format."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from core import ids
from core.wire.base import CallId, ItemId, Name, Open, Strict, Text, kind_of, tag, text_or_list
from core.wire.parts import Parts, ReasoningText, SummaryText, ToolParts

Item = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]

# Items of hosted tools: stored and listed, but not shown to the model.
HOSTED = (
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "code_interpreter_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "compaction",
    "compaction_trigger",
    "program",
    "program_output",
)

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}


class Message(Strict):
    """A message. `type` may be omitted."""

    type: Literal["message"] = "message"
    id: ItemId | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[Annotated[Text, Tag("<text>")] | Annotated[Parts, Tag("<list>")], text_or_list()]
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Strict):
    type: Literal["function_call"]
    id: ItemId | None = None
    call_id: CallId
    name: Name
    arguments: Text
    status: Status | None = None


class FunctionCallOutput(Strict):
    type: Literal["function_call_output"]
    id: ItemId | None = None
    call_id: CallId
    output: Annotated[Annotated[Text, Tag("<text>")] | Annotated[ToolParts, Tag("<list>")], text_or_list()]
    status: Status | None = None


class CustomToolCall(Strict):
    type: Literal["custom_tool_call"]
    id: ItemId | None = None
    call_id: CallId
    name: Name
    input: Text
    status: Status | None = None


class CustomToolCallOutput(Strict):
    type: Literal["custom_tool_call_output"]
    id: ItemId | None = None
    call_id: CallId
    output: Annotated[Annotated[Text, Tag("<text>")] | Annotated[ToolParts, Tag("<list>")], text_or_list()]
    status: Status | None = None


class Reasoning(Strict):
    type: Literal["reasoning"]
    id: ItemId | None = None
    summary: list[SummaryText] = Field(default_factory=list)
    content: list[ReasoningText] | None = None
    encrypted_content: Text | None = None
    status: Status | None = None


class ItemReference(Strict):
    """A reference to an item of one of the project's stored responses. `type` may be omitted."""

    type: Literal["item_reference"] = "item_reference"
    id: ItemId


class HostedItem(Open):
    """An item of a hosted tool. It is stored and listed, but not shown to the model."""

    type: str
    id: ItemId | None = None


def _kind(value: Any) -> str:
    """The union branch of an item.

    An item without `type` is a reference if it has an ID but no role or content; otherwise it is a message.
    """
    kind = kind_of(value, "message")
    if kind is None:
        kind = "item_reference" if "id" in value and not value.keys() & {"role", "content"} else "message"
    return tag("hosted" if kind in HOSTED else str(kind))


InputItem = Annotated[
    Annotated[Message, Tag(tag("message"))]
    | Annotated[FunctionCall, Tag(tag("function_call"))]
    | Annotated[FunctionCallOutput, Tag(tag("function_call_output"))]
    | Annotated[CustomToolCall, Tag(tag("custom_tool_call"))]
    | Annotated[CustomToolCallOutput, Tag(tag("custom_tool_call_output"))]
    | Annotated[Reasoning, Tag(tag("reasoning"))]
    | Annotated[ItemReference, Tag(tag("item_reference"))]
    | Annotated[HostedItem, Tag(tag("hosted"))],
    Discriminator(_kind, custom_error_type="unknown_item", custom_error_message="a known item type"),
]


def user_message(text: str) -> Item:
    """The message that is equivalent to an input given as a plain string."""
    return _message("user", [{"type": "input_text", "text": text}], {})


def normal(item: InputItem) -> Item:
    """The form in which an input item is stored and listed: with an ID, a status and its content as parts."""
    dumped: dict[str, Any] = item.model_dump(exclude_none=True)
    if isinstance(item, Message):
        content = dumped["content"]
        if isinstance(content, str):
            content = [_text_part(item.role, content)]
        return _message(item.role, [_with_defaults(part) for part in content], dumped)
    dumped.setdefault("id", ids.new(_PREFIXES.get(item.type, "item")))
    if not isinstance(item, HostedItem):
        dumped.setdefault("status", "completed")
    return dumped


def renamed(item: Item) -> Item:
    """A copy of the item with a new ID, for use when a different item already has its ID."""
    return item | {"id": ids.new(_PREFIXES.get(item["type"], "item"))}


def _message(role: str, content: list[dict[str, Any]], dumped: Item) -> Item:
    message = {
        "type": "message",
        "id": dumped.get("id") or ids.new("msg"),
        "status": dumped.get("status") or "completed",
        "role": role,
        "content": content,
    }
    return message | ({"phase": dumped["phase"]} if "phase" in dumped else {})


def _text_part(role: str, text: str) -> dict[str, Any]:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _with_defaults(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"logprobs": []} if part["type"] == "output_text" else part

"""Input and output items of a response in the wire format."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from core import ids
from core.jsonio import JsonObject
from core.wire import Item, Part
from core.wire.base import CallId, ItemId, Name, Open, Strict, Text, read_type, tag, text_or_list_discriminator
from core.wire.parts import Parts, ReasoningText, SummaryText, ToolParts

ItemStatus = Literal["in_progress", "completed", "incomplete"]

# Types of the items of hosted tools. Such items are stored and listed, but not sent to the model.
HOSTED_TYPES = (
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

_ID_PREFIXES = {
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
    content: Annotated[Annotated[Text, Tag("<text>")] | Annotated[Parts, Tag("<list>")], text_or_list_discriminator()]
    status: ItemStatus | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Strict):
    type: Literal["function_call"]
    id: ItemId | None = None
    call_id: CallId
    name: Name
    arguments: Text
    status: ItemStatus | None = None


class FunctionCallOutput(Strict):
    type: Literal["function_call_output"]
    id: ItemId | None = None
    call_id: CallId
    output: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[ToolParts, Tag("<list>")], text_or_list_discriminator()
    ]
    status: ItemStatus | None = None


class CustomToolCall(Strict):
    type: Literal["custom_tool_call"]
    id: ItemId | None = None
    call_id: CallId
    name: Name
    input: Text
    status: ItemStatus | None = None


class CustomToolCallOutput(Strict):
    type: Literal["custom_tool_call_output"]
    id: ItemId | None = None
    call_id: CallId
    output: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[ToolParts, Tag("<list>")], text_or_list_discriminator()
    ]
    status: ItemStatus | None = None


class Reasoning(Strict):
    type: Literal["reasoning"]
    id: ItemId | None = None
    summary: list[SummaryText] = Field(default_factory=list)
    content: list[ReasoningText] | None = None
    encrypted_content: Text | None = None
    status: ItemStatus | None = None


class ItemReference(Strict):
    """A reference to an item of one of the project's stored responses. `type` may be omitted."""

    type: Literal["item_reference"] = "item_reference"
    id: ItemId


class HostedItem(Open):
    """An item of a hosted tool. It is stored and listed, but not sent to the model."""

    type: str
    id: ItemId | None = None


def _branch(value: Any) -> str:
    """Return the label of an item's union branch.

    An item without `type` is a reference if it has an ID but no role or content; otherwise it is a message.
    """
    kind = read_type(value, "message")
    if kind is None:
        kind = "item_reference" if "id" in value and not value.keys() & {"role", "content"} else "message"
    return tag("hosted" if kind in HOSTED_TYPES else str(kind))


InputItem = Annotated[
    Annotated[Message, Tag(tag("message"))]
    | Annotated[FunctionCall, Tag(tag("function_call"))]
    | Annotated[FunctionCallOutput, Tag(tag("function_call_output"))]
    | Annotated[CustomToolCall, Tag(tag("custom_tool_call"))]
    | Annotated[CustomToolCallOutput, Tag(tag("custom_tool_call_output"))]
    | Annotated[Reasoning, Tag(tag("reasoning"))]
    | Annotated[ItemReference, Tag(tag("item_reference"))]
    | Annotated[HostedItem, Tag(tag("hosted"))],
    Discriminator(_branch, custom_error_type="unknown_item", custom_error_message="a known item type"),
]


def user_message(text: str) -> Item:
    """Return the message that is equivalent to a plain string as input."""
    return _message("user", [{"type": "input_text", "text": text}], {})


def normalize_item(item: InputItem) -> Item:
    """Return the stored and listed form of an input item: with an ID, a status and its content as parts."""
    fields: JsonObject = item.model_dump(exclude_none=True)
    if isinstance(item, Message):
        content = fields["content"]
        if isinstance(content, str):
            content = [_text_part(item.role, content)]
        return _message(item.role, [_add_default_logprobs(part) for part in content], fields)
    fields.setdefault("id", ids.new_id(_ID_PREFIXES.get(item.type, "item")))
    if not isinstance(item, HostedItem):
        fields.setdefault("status", "completed")
    return fields


def copy_with_new_id(item: Item) -> Item:
    """Return a copy of an item with a new ID, for an item whose ID a different item already has."""
    return item | {"id": ids.new_id(_ID_PREFIXES.get(item["type"], "item"))}


def _message(role: str, content: list[JsonObject], fields: Item) -> Item:
    message = {
        "type": "message",
        "id": fields.get("id") or ids.new_id("msg"),
        "status": fields.get("status") or "completed",
        "role": role,
        "content": content,
    }
    return message | ({"phase": fields["phase"]} if "phase" in fields else {})


def _text_part(role: str, text: str) -> Part:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _add_default_logprobs(part: Part) -> Part:
    return part | {"logprobs": []} if part["type"] == "output_text" else part

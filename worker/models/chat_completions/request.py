"""Converts the request of a response to a request in the Chat Completions API."""

from core import jsonio
from core.config.catalog import ModelConfig
from core.context.parts import part_text
from core.jsonio import JsonObject
from core.wire import Item, Part
from core.wire.request import CreateResponse, SchemaFormat, TextConfig
from core.wire.tools import CustomTool, FunctionTool, NamedChoice
from worker.models import tools
from worker.models.tools import CUSTOM_INPUT


def request_body(
    model: ModelConfig, model_name: str, request: CreateResponse, context: list[Item], prefix: str = ""
) -> JsonObject:
    """Return the body of a Chat Completions request.

    Args:
        model_name: the name of the model on the model server.
        context: all items of the model's input.
        prefix: partial text of the answer, to be continued; empty if there is none.
    """
    body: JsonObject = {
        "model": model_name,
        "messages": messages(request.instructions, context, with_reasoning="reasoning" in model.supports),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    optional_fields = {
        model.max_tokens_field: request.max_output_tokens,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "response_format": _response_format(request.text),
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
    }
    if prefix:
        body["messages"].append({"role": "assistant", "content": prefix})
        # These are parameters of vLLM and SGLang. llama.cpp always continues a final assistant message.
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.includes_logprobs:
        # With 0, llama.cpp sends no log probabilities. Without the field, it sends alternatives, which we remove.
        optional_fields |= {"logprobs": True, "top_logprobs": request.top_logprobs or None}
    return (
        body
        | {name: value for name, value in optional_fields.items() if value is not None}
        | tools.tool_parameters(request, _convert_tool, _convert_choice)
    )


def messages(instructions: str | None, context: list[Item], *, with_reasoning: bool = False) -> list[JsonObject]:
    """Return the messages of the conversation; items of hosted tools are omitted.

    Args:
        instructions: text of the system message, or None.
        context: all items of the model's input.
        with_reasoning: whether to send reasoning items to the model, as `reasoning_content` of the assistant message.
    """
    conversation: list[JsonObject] = []
    images: list[JsonObject] = []  # images of the tool outputs of the current turn
    if instructions is not None:
        conversation.append({"role": "system", "content": instructions})
    reasoning = ""
    for item in context:
        match item["type"]:
            case "message":
                _add_images(conversation, images)
                _add_message(conversation, item)
            case "function_call" | "custom_tool_call":
                _add_images(conversation, images)
                _add_call(conversation, item)
            case "function_call_output" | "custom_tool_call_output":
                images += _add_output(conversation, item)
            case "reasoning" if with_reasoning:
                reasoning += _text(item.get("content") or [])
                continue
            case _:
                continue
        if reasoning and conversation[-1]["role"] == "assistant":
            conversation[-1]["reasoning_content"] = conversation[-1].get("reasoning_content", "") + reasoning
        reasoning = ""
    _add_images(conversation, images)
    return conversation


def _text(parts: list[Part]) -> str:
    return "".join(part_text(part) for part in parts)


def _content(parts: list[Part]) -> str | list[JsonObject]:
    """Return the content as a list of parts if it contains images, otherwise as a string, which all servers accept."""
    if all(part["type"] != "input_image" for part in parts):
        return _text(parts)
    return [_image_part(part) if part["type"] == "input_image" else _text_part(part_text(part)) for part in parts]


def _text_part(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _image_part(part: Part) -> JsonObject:
    # Chat Completions does not have the value `original`.
    detail = "high" if part["detail"] == "original" else part["detail"]
    return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": detail}}


def _add_output(conversation: list[JsonObject], item: Item) -> list[JsonObject]:
    """Add a tool message with the text of an output; return the images, which a tool message cannot contain."""
    output = item["output"]
    parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
    images = [_image_part(part) for part in parts if part["type"] == "input_image"]
    text = _text([part for part in parts if part["type"] != "input_image"])
    conversation.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
    return [_text_part(f"What the tool call {item['call_id']} showed:"), *images] if images else []


def _add_images(conversation: list[JsonObject], images: list[JsonObject]) -> None:
    """Add the images of tool outputs as a user message, which must follow all outputs of a turn."""
    if images:
        conversation.append({"role": "user", "content": list(images)})
        images.clear()


def _add_message(conversation: list[JsonObject], item: Item) -> None:
    """Add a message; the text of an assistant after its tool calls is added to the message with these calls."""
    # `developer` is OpenAI's newer name for the role `system`. Most chat templates support only `system`.
    role = "system" if item["role"] == "developer" else item["role"]
    if role == "assistant" and conversation and "tool_calls" in conversation[-1]:
        conversation[-1]["content"] = (conversation[-1]["content"] or "") + _text(item["content"])
    else:
        conversation.append({"role": role, "content": _content(item["content"])})


def _add_call(conversation: list[JsonObject], item: Item) -> None:
    """Add a tool call to the last message if the assistant sent it, or else to a new message."""
    arguments = item.get("arguments")
    if arguments is None:
        arguments = jsonio.dumps({CUSTOM_INPUT: item["input"]})
    call = {
        "id": item["call_id"],
        "type": "function",
        "function": {"name": item["name"], "arguments": arguments},
    }
    if conversation and conversation[-1]["role"] == "assistant":
        conversation[-1].setdefault("tool_calls", []).append(call)
    else:
        conversation.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _response_format(text: TextConfig) -> JsonObject | None:
    text_format = text.format
    if isinstance(text_format, SchemaFormat):
        schema = text_format.model_dump(by_alias=True, exclude_none=True, exclude={"type"})
        return {"type": "json_schema", "json_schema": schema}
    return {"type": "json_object"} if text_format.type == "json_object" else None


def _convert_choice(choice: NamedChoice) -> JsonObject:
    return {"type": "function", "function": {"name": choice.name}}


def _convert_tool(tool: FunctionTool | CustomTool) -> JsonObject:
    function: JsonObject = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if isinstance(tool, CustomTool):
        function["parameters"] = {
            "type": "object",
            "properties": {CUSTOM_INPUT: {"type": "string"}},
            "required": [CUSTOM_INPUT],
        }
    else:
        function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
        # `strict` is true by default in the Responses API, but servers reject it for schemas that allow additional
        # properties.
        if tool.strict and function["parameters"].get("additionalProperties") is False:
            function["strict"] = True
    return {"type": "function", "function": function}

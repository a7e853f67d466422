"""Converts the request of a response to a Chat Completions request."""

from typing import Any

from core import jsonio
from core.config.catalog import ModelConfig
from core.wire.items import Item
from core.wire.request import CreateResponse, SchemaFormat, TextConfig
from core.wire.tools import CustomTool, FunctionTool, NamedChoice
from worker.models import tools
from worker.models.parts import words
from worker.models.tools import CUSTOM_INPUT


def body(
    model: ModelConfig, name: str, request: CreateResponse, context: list[Item], prefix: str = ""
) -> dict[str, Any]:
    """Return the body of the request.

    Args:
        name: the name of the model on the model server.
        context: all items of the model's input.
        prefix: partial text of the answer, to be continued; empty if there is none.
    """
    sent: dict[str, Any] = {
        "model": name,
        "messages": messages(request.instructions, context, thinks="reasoning" in model.supports),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    optional = {
        model.max_tokens_field: request.max_output_tokens,
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "response_format": _format(request.text),
        "user": request.user,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
    }
    if prefix:
        sent["messages"].append({"role": "assistant", "content": prefix})
        # Parameters of vLLM and SGLang. llama.cpp always continues a final assistant message.
        sent |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.wants_logprobs:
        # With 0, llama.cpp would send no log probabilities. Its default alternatives are removed from the answer.
        optional |= {"logprobs": True, "top_logprobs": request.top_logprobs or None}
    return (
        sent
        | {name: value for name, value in optional.items() if value is not None}
        | tools.tool_parameters(request, _tool, _named)
    )


def messages(instructions: str | None, context: list[Item], *, thinks: bool = False) -> list[dict[str, Any]]:
    """Return the messages of the conversation; items of hosted tools are omitted.

    Args:
        instructions: text of the system message, or None.
        context: all items of the model's input.
        thinks: whether to send reasoning back to the model, as `reasoning_content` of the turn that it belongs to.
    """
    found: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []  # images in tool outputs that have not been added yet
    if instructions is not None:
        found.append({"role": "system", "content": instructions})
    thought = ""
    for item in context:
        match item["type"]:
            case "message":
                _add_images(found, images)
                _add_message(found, item)
            case "function_call" | "custom_tool_call":
                _add_images(found, images)
                _add_call(found, item)
            case "function_call_output" | "custom_tool_call_output":
                images += _add_output(found, item)
            case "reasoning" if thinks:
                thought += _text(item.get("content") or [])
                continue
            case _:
                continue
        if thought and found[-1]["role"] == "assistant":
            found[-1]["reasoning_content"] = found[-1].get("reasoning_content", "") + thought
        thought = ""
    _add_images(found, images)
    return found


def _text(parts: list[dict[str, Any]]) -> str:
    return "".join(words(part) for part in parts)


def _content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return the content as a string, which every server accepts, or as a list of parts if it contains images."""
    if all(part["type"] != "input_image" for part in parts):
        return _text(parts)
    return [_image(part) if part["type"] == "input_image" else _text_part(words(part)) for part in parts]


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(part: dict[str, Any]) -> dict[str, Any]:
    # Only the Responses API has the value `original`.
    detail = "high" if part["detail"] == "original" else part["detail"]
    return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": detail}}


def _add_output(found: list[dict[str, Any]], item: Item) -> list[dict[str, Any]]:
    """Add a tool message with the text of an output; return its images, which a tool message cannot contain."""
    output = item["output"]
    parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
    images = [_image(part) for part in parts if part["type"] == "input_image"]
    text = _text([part for part in parts if part["type"] != "input_image"])
    found.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
    return [_text_part(f"What the tool call {item['call_id']} showed:"), *images] if images else []


def _add_images(found: list[dict[str, Any]], images: list[dict[str, Any]]) -> None:
    """Add the images of tool outputs as a user message, after all outputs of a turn, which must be consecutive."""
    if images:
        found.append({"role": "user", "content": list(images)})
        images.clear()


def _add_message(found: list[dict[str, Any]], item: Item) -> None:
    """Add a message; assistant text that follows tool calls becomes part of the turn with these calls."""
    # `developer` is OpenAI's newer name of the `system` role; most servers' chat templates support only `system`.
    role = "system" if item["role"] == "developer" else item["role"]
    if role == "assistant" and found and "tool_calls" in found[-1]:
        found[-1]["content"] = (found[-1]["content"] or "") + _text(item["content"])
    else:
        found.append({"role": role, "content": _content(item["content"])})


def _add_call(found: list[dict[str, Any]], item: Item) -> None:
    """Add a tool call to the assistant turn that it belongs to."""
    arguments = item.get("arguments")
    if arguments is None:
        arguments = jsonio.dumps({CUSTOM_INPUT: item["input"]})
    call = {
        "id": item["call_id"],
        "type": "function",
        "function": {"name": item["name"], "arguments": arguments},
    }
    if found and found[-1]["role"] == "assistant":
        found[-1].setdefault("tool_calls", []).append(call)
    else:
        found.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _format(text: TextConfig) -> dict[str, Any] | None:
    chosen = text.format
    if isinstance(chosen, SchemaFormat):
        schema = chosen.model_dump(by_alias=True, exclude_none=True, exclude={"type"})
        return {"type": "json_schema", "json_schema": schema}
    return {"type": "json_object"} if chosen.type == "json_object" else None


def _named(choice: NamedChoice) -> dict[str, Any]:
    return {"type": "function", "function": {"name": choice.name}}


def _tool(tool: FunctionTool | CustomTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
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
        # `strict` is true by default in the Responses API, but servers that support it reject it for other schemas.
        if tool.strict and function["parameters"].get("additionalProperties") is False:
            function["strict"] = True
    return {"type": "function", "function": function}

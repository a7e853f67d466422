"""A response's request in the words of Chat Completions."""

from typing import Any

from core import jsonio
from core.config.catalog import ModelConfig
from core.wire.items import Item
from core.wire.request import CreateResponse, SchemaFormat, TextConfig
from core.wire.tools import CustomTool, FunctionTool, NamedChoice
from worker.models import tools
from worker.models.parts import words

# A custom tool's input is free text; Chat Completions servers know functions: one with this one argument.
CUSTOM_INPUT = "input"


def body(
    model: ModelConfig, name: str, request: CreateResponse, context: list[Item], prefix: str = ""
) -> dict[str, Any]:
    """The body that asks for what the response asks for.

    Args:
        name: the model's, as the model server calls it.
        context: every item the model is shown.
        prefix: of the answer, which is to be gone on with.
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
        # vLLM's and SGLang's words; llama.cpp goes on with an assistant's message that is the last anyway.
        sent |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.wants_logprobs:
        # For llama.cpp, no alternatives would mean no tokens either: what it sends by itself is cut.
        optional |= {"logprobs": True, "top_logprobs": request.top_logprobs or None}
    return (
        sent
        | {name: value for name, value in optional.items() if value is not None}
        | tools.tool_parameters(request, _tool, _named)
    )


def messages(instructions: str | None, context: list[Item], *, thinks: bool = False) -> list[dict[str, Any]]:
    """The conversation; items of hosted tools have no place in it.

    Args:
        thinks: the model wants back what it thought, as `reasoning_content` of the turn that it thought for.
    """
    found: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []  # of the outputs of tools
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
    """One text, which every server takes, unless there are images among the parts."""
    if all(part["type"] != "input_image" for part in parts):
        return _text(parts)
    return [_image(part) if part["type"] == "input_image" else _text_part(words(part)) for part in parts]


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(part: dict[str, Any]) -> dict[str, Any]:
    # `original` is a word of the Responses API only.
    detail = "high" if part["detail"] == "original" else part["detail"]
    return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": detail}}


def _add_output(found: list[dict[str, Any]], item: Item) -> list[dict[str, Any]]:
    """Add what a tool said; what it showed, which a tool's message cannot hold."""
    output = item["output"]
    parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
    images = [_image(part) for part in parts if part["type"] == "input_image"]
    text = _text([part for part in parts if part["type"] != "input_image"])
    found.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
    return [_text_part(f"What the tool call {item['call_id']} showed:"), *images] if images else []


def _add_images(found: list[dict[str, Any]], images: list[dict[str, Any]]) -> None:
    """Add what tools showed as the user's: behind all outputs of a turn, which servers want in one row."""
    if images:
        found.append({"role": "user", "content": list(images)})
        images.clear()


def _add_message(found: list[dict[str, Any]], item: Item) -> None:
    """Add a message; what the assistant said after it called tools belongs to the turn that called them."""
    # `developer` is OpenAI's newer word for `system`; most servers' templates know only the older.
    role = "system" if item["role"] == "developer" else item["role"]
    if role == "assistant" and found and "tool_calls" in found[-1]:
        found[-1]["content"] = (found[-1]["content"] or "") + _text(item["content"])
    else:
        found.append({"role": role, "content": _content(item["content"])})


def _add_call(found: list[dict[str, Any]], item: Item) -> None:
    """Add a tool call to the assistant's turn it belongs to."""
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
        # The default is strict, which servers that know it refuse with any other schema.
        if tool.strict and function["parameters"].get("additionalProperties") is False:
            function["strict"] = True
    return {"type": "function", "function": function}

"""Offer a local function to the model, run it when the model calls it, and send its result for the final answer."""

import json
from typing import Any

from examples.connection import MODEL, connect

client = connect()

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The current weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Oslo", "Lima"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def get_weather(city: str) -> str:
    """Return the weather. The model only requests the call; the function runs in this process, never on the server."""
    return json.dumps({"city": city, "celsius": 18, "sky": "rain"})


def request_call_as_json() -> dict[str, Any]:
    """Build a call for a model that does not support tools: request the arguments as JSON that matches the schema."""
    response = client.responses.create(
        model=MODEL,
        input=[QUESTION],
        text={"format": {"type": "json_schema", "name": TOOL["name"], "schema": TOOL["parameters"]}},
    )
    return {
        "type": "function_call",
        "call_id": "call_1",
        "name": TOOL["name"],
        "arguments": response.output_text,
    }


# 1. Offer the tool. A model that supports tools answers with a function call instead of text.
first_response = client.responses.create(
    model=MODEL,
    input=[QUESTION],
    tools=[TOOL],
    tool_choice={"type": "function", "name": TOOL["name"]},
    max_output_tokens=60,
)
calls = [item.model_dump(exclude_none=True) for item in first_response.output if item.type == "function_call"]
print("the model calls tools" if calls else "the model, such as the packaged model, calls no tools: using JSON")
call = calls[0] if calls else request_call_as_json()
print("call:", call["name"], call["arguments"])

# 2. Validate the arguments, because they are model output, and run the function.
arguments = json.loads(call["arguments"])
assert call["name"] == TOOL["name"]
assert arguments["city"] in TOOL["parameters"]["properties"]["city"]["enum"]
result = {"type": "function_call_output", "call_id": call["call_id"], "output": get_weather(**arguments)}

# 3. Send the question, the call and its result; the model answers with text.
final_response = client.responses.create(
    model=MODEL, input=[QUESTION, call, result], tools=[TOOL], max_output_tokens=60
)
print(final_response.status, final_response.output_text)
assert final_response.status in {"completed", "incomplete"}
assert final_response.output
item_types = [item.type for item in client.responses.input_items.list(final_response.id, order="asc").data]
assert item_types == ["message", "function_call", "function_call_output"]

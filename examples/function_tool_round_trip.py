"""Let the model call a function of ours, and answer with what the function said."""

import json
from typing import Any

from connection import MODEL, connect

client = connect()

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city now.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Oslo", "Lima"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def get_weather(city: str) -> str:
    """The function: it runs here, never on the server."""
    return json.dumps({"city": city, "celsius": 18, "sky": "rain"})


def asked_in_json() -> dict[str, Any]:
    """The call a model that knows no tools would make: its arguments, by the same schema."""
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


# 1. Offer the tool. A model that knows tools answers with a call of it instead of a text.
first = client.responses.create(
    model=MODEL,
    input=[QUESTION],
    tools=[TOOL],
    tool_choice={"type": "function", "name": TOOL["name"]},
    max_output_tokens=60,
)
calls = [item.model_dump(exclude_none=True) for item in first.output if item.type == "function_call"]
print("the model calls tools" if calls else "the model knows no tools, as the packaged one: ask it in JSON")
call = calls[0] if calls else asked_in_json()
print("call:", call["name"], call["arguments"])

# 2. Run the function. What a model says is checked before it is used.
arguments = json.loads(call["arguments"])
assert call["name"] == TOOL["name"]
assert arguments["city"] in TOOL["parameters"]["properties"]["city"]["enum"]
result = {"type": "function_call_output", "call_id": call["call_id"], "output": get_weather(**arguments)}

# 3. Give the model its question, its call and the result; it makes a text of them.
last = client.responses.create(model=MODEL, input=[QUESTION, call, result], tools=[TOOL], max_output_tokens=60)
print(last.status, last.output_text)
assert last.status in {"completed", "incomplete"}
assert last.output
kinds = [item.type for item in client.responses.input_items.list(last.id, order="asc").data]
assert kinds == ["message", "function_call", "function_call_output"]

"""Get output that matches a JSON Schema. An unsupported schema is rejected at once, with the location of the error."""

import json
from typing import Any

from connection import MODEL, connect
from openai import BadRequestError

client = connect()

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Oslo", "Lima"]},
        "celsius": {"type": "integer", "minimum": -50, "maximum": 50},
        "umbrella": {"type": "boolean"},
    },
    "required": ["city", "celsius", "umbrella"],
    "additionalProperties": False,
}


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "weather", "schema": schema, "strict": True}}


response = client.responses.create(
    model=MODEL, input="It rains in Oslo, at 8 degrees.", text=shape(SCHEMA), max_output_tokens=100
)
print(response.status, response.output_text)
found = json.loads(response.output_text)
assert found.keys() == SCHEMA["properties"].keys()
assert found["city"] in SCHEMA["properties"]["city"]["enum"]
assert isinstance(found["celsius"], int)
assert isinstance(found["umbrella"], bool)

wrong = SCHEMA | {"properties": {"city": {"$ref": "#/$defs/city"}}}
refused = None
try:
    client.responses.create(model=MODEL, input="Hi.", text=shape(wrong), background=True)
except BadRequestError as error:
    refused = error
print(refused)
assert refused is not None
assert refused.param == "text.format.schema"

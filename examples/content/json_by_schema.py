"""Get output that matches a JSON Schema; an invalid schema is rejected, with the location of the error."""

import json
from typing import Any

from openai import BadRequestError

from examples.connection import MODEL, connect

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


def build_text_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "weather", "schema": schema, "strict": True}}


response = client.responses.create(
    model=MODEL, input="It rains in Oslo, at 8 degrees.", text=build_text_format(SCHEMA), max_output_tokens=100
)
print(response.status, response.output_text)
weather = json.loads(response.output_text)
assert weather.keys() == SCHEMA["properties"].keys()
assert weather["city"] in SCHEMA["properties"]["city"]["enum"]
assert isinstance(weather["celsius"], int)
assert isinstance(weather["umbrella"], bool)

invalid_schema = SCHEMA | {"properties": {"city": {"$ref": "#/$defs/city"}}}
rejection = None
try:
    client.responses.create(model=MODEL, input="Hi.", text=build_text_format(invalid_schema), background=True)
except BadRequestError as error:
    rejection = error
print(rejection)
assert rejection is not None
assert rejection.param == "text.format.schema"

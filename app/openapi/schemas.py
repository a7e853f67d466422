"""JSON schemas of requests and answers, generated from the models in core and in app.openapi.objects."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from app.openapi.objects import ANSWERS
from core.prompts import prompt_requests
from core.tenants import project_requests
from core.wire import items, parts, request, tools

Schema = dict[str, Any]

REF = "#/components/schemas/"
# Two classes have the same name; pydantic distinguishes them by their module names, which are internal.
_NAMES = {"core__wire__items__Reasoning": "ReasoningItem", "core__wire__request__Reasoning": "Reasoning"}
_BODIES = (
    request.CreateResponse,
    prompt_requests.CreatePrompt,
    prompt_requests.CreatePromptVersion,
    prompt_requests.UpdatePrompt,
    project_requests.CreateProject,
    project_requests.CreateKey,
)
_REFUSED = {
    "description": "Not supported. Any value except null is rejected with `unsupported_parameter`.",
    "enum": [None],
}
# Unions, which pydantic would repeat in every schema that uses them.
_UNIONS: dict[str, Any] = {
    "InputItem": items.InputItem,
    "ContentPart": parts.Part,
    "ToolOutputPart": parts.ToolPart,
    "Tool": tools.Tool,
    "ToolChoice": tools.ToolChoice,
    "TextFormat": request.Format,
}
_VARIABLES = {"maxProperties": request.VARIABLES_LIMIT, "propertyNames": {"pattern": f"^{request.VARIABLE_NAME}$"}}
# The allowed values of `type`, which our own validators check, so that pydantic does not know them.
_HOSTED = {"HostedItem": items.HOSTED, "HostedTool": tools.HOSTED, "HostedChoice": tools.HOSTED}


class _Generator(GenerateJsonSchema):
    """Schemas for clients: no titles made of field names, unions without internal tags, null where it is accepted."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  signature of the base class
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Schema:
        # Not `oneOf`, because a value without `type` can match two choices.
        return {"anyOf": [self.generate_inner(choice) for choice in schema["choices"].values()]}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return _nullable(self.generate_inner(schema["schema"]))

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        made = super().default_schema(schema)
        default = made.pop("default", None)
        made = _nullable(made)  # core.wire.base.Strict: null means omitted
        return made if default is None else made | {"default": default}


def _nullable(schema: Schema) -> Schema:
    if {"type": "null"} in schema.get("anyOf", ()) or "null" in schema.get("type", ()):
        return schema
    if "const" in schema:
        schema = {name: value for name, value in schema.items() if name != "const"} | {"enum": [schema["const"]]}
    if isinstance(kind := schema.get("type"), str):
        values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return schema | {"type": [kind, "null"]} | values
    return {"anyOf": [*schema.get("anyOf", (schema,)), {"type": "null"}]}


def components() -> dict[str, Schema]:
    """All schemas, by name."""
    wanted = {found.__name__: found for found in (*_BODIES, *ANSWERS)} | _UNIONS
    made, rest = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(found)) for name, found in wanted.items()],
        ref_template=REF + "{model}",
        schema_generator=_Generator,
    )
    named: dict[str, Schema] = {_NAMES.get(name, name): schema for name, schema in rest["$defs"].items()}
    named |= {name: made[name, "validation"] for name in _UNIONS}
    named = {name: _tidied(schema, named) for name, schema in named.items()}
    for name, kinds in _HOSTED.items():
        named[name]["properties"]["type"]["enum"] = list(kinds)
    create = named["CreateResponse"]["properties"]
    create["metadata"]["maxProperties"] = request.METADATA_LIMIT
    create["model"]["description"] = "Required, unless `prompt` provides it."
    create["input"]["description"] = "Required, unless `previous_response_id` or `prompt` provides a context."
    for name in ("PromptReference", "Template"):
        named[name]["properties"]["variables"] |= _VARIABLES
    create |= dict.fromkeys(sorted(request.UNSUPPORTED), _REFUSED)
    named["ItemList"] = _item_list(named["ResponseList"])
    return dict(sorted(named.items()))


def _tidied(node: Any, named: dict[str, Schema]) -> Any:
    """A schema with references to named unions, patterns in JSON Schema syntax, and descriptions without `Source:`."""
    if isinstance(node, list):
        return [_tidied(part, named) for part in node]
    if not isinstance(node, dict):
        return node.replace(r"\z", "$").partition("\n\nSource: ")[0] if isinstance(node, str) else node
    tidy = {_tidied(name, named): _tidied(part, named) for name, part in node.items()}
    if "$ref" in tidy:
        name = tidy["$ref"].removeprefix(REF)
        tidy["$ref"] = REF + _NAMES.get(name, name)
    branches = node.get("anyOf")
    for name in _UNIONS:
        if branches and node is not named[name] and branches[: len(named[name]["anyOf"])] == named[name]["anyOf"]:
            others = tidy["anyOf"][len(named[name]["anyOf"]) :]
            there = {"$ref": REF + name}
            del tidy["anyOf"]
            tidy |= {"anyOf": [there, *others]} if others else there
    return tidy


def _item_list(responses: Schema) -> Schema:
    """A page of items, each with the ID that it was given."""
    item = {"allOf": [{"$ref": REF + "InputItem"}, {"type": "object", "required": ["id", "type"]}]}
    properties = responses["properties"] | {"data": {"type": "array", "items": item}}
    return {**responses, "title": "ItemList", "properties": properties}

"""JSON schemas of requests and answers, generated from the models in core and in app.openapi.objects."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from app.openapi.objects import ANSWERS
from core.jsonio import JsonObject
from core.prompts import prompt_requests
from core.tenants import project_requests
from core.wire import items, parts, request, tools

Schema = JsonObject

REF = "#/components/schemas/"
# Two classes have the name `Reasoning`; pydantic distinguishes them by their module names, which are internal.
_SCHEMA_NAMES = {"core__wire__items__Reasoning": "ReasoningItem", "core__wire__request__Reasoning": "Reasoning"}
_REQUEST_BODIES = (
    request.CreateResponse,
    prompt_requests.CreatePrompt,
    prompt_requests.CreatePromptVersion,
    prompt_requests.UpdatePrompt,
    project_requests.CreateProject,
    project_requests.CreateKey,
)
_UNSUPPORTED_PARAMETER = {
    "description": "Not supported. Any value except null is rejected with `unsupported_parameter`.",
    "enum": [None],
}
# The unions that get their own components. Pydantic would repeat them in every schema that uses them.
_UNIONS: JsonObject = {
    "InputItem": items.InputItem,
    "ContentPart": parts.Part,
    "ToolOutputPart": parts.ToolPart,
    "Tool": tools.Tool,
    "ToolChoice": tools.ToolChoice,
    "TextFormat": request.Format,
}
_VARIABLES = {"maxProperties": request.VARIABLES_LIMIT, "propertyNames": {"pattern": f"^{request.VARIABLE_NAME}$"}}
# The allowed values of `type`. Pydantic cannot generate them, because our own validators check them.
_HOSTED_TYPES = {"HostedItem": items.HOSTED_TYPES, "HostedTool": tools.HOSTED_TYPES, "HostedChoice": tools.HOSTED_TYPES}


class _Generator(GenerateJsonSchema):
    """Schemas for clients: no titles from field names, unions without internal tags, and null where it is accepted."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  signature of the base class
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Schema:
        # Not `oneOf`, because a value without `type` can match two choices.
        return {"anyOf": [self.generate_inner(choice) for choice in schema["choices"].values()]}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return _nullable(self.generate_inner(schema["schema"]))

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        base = super().default_schema(schema)
        default = base.pop("default", None)
        schema_with_null = _nullable(base)  # core.wire.base.Strict: null means omitted
        return schema_with_null if default is None else schema_with_null | {"default": default}


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
    """The component of each schema, by name."""
    models = {model.__name__: model for model in (*_REQUEST_BODIES, *ANSWERS)} | _UNIONS
    model_schemas, definitions = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(model)) for name, model in models.items()],
        ref_template=REF + "{model}",
        schema_generator=_Generator,
    )
    schemas: dict[str, Schema] = {
        _SCHEMA_NAMES.get(name, name): schema for name, schema in definitions["$defs"].items()
    }
    schemas |= {name: model_schemas[name, "validation"] for name in _UNIONS}
    schemas = {name: _clean_schema(schema, schemas) for name, schema in schemas.items()}
    for name, types in _HOSTED_TYPES.items():
        schemas[name]["properties"]["type"]["enum"] = list(types)
    create_properties = schemas["CreateResponse"]["properties"]
    create_properties["metadata"]["maxProperties"] = request.METADATA_LIMIT
    create_properties["model"]["description"] = "Required, unless `prompt` provides it."
    create_properties["input"]["description"] = (
        "Required, unless `previous_response_id` or `prompt` provides a context."
    )
    for name in ("PromptReference", "Template"):
        schemas[name]["properties"]["variables"] |= _VARIABLES
    create_properties |= dict.fromkeys(sorted(request.UNSUPPORTED_PARAMETERS), _UNSUPPORTED_PARAMETER)
    schemas["ItemList"] = _item_list(schemas["ResponseList"])
    return dict(sorted(schemas.items()))


def _clean_schema(node: Any, schemas: dict[str, Schema]) -> Any:
    """Clean a generated schema: refer to named unions, convert patterns to JSON Schema, remove `Source:` sections."""
    if isinstance(node, list):
        return [_clean_schema(part, schemas) for part in node]
    if not isinstance(node, dict):
        return node.replace(r"\z", "$").partition("\n\nSource: ")[0] if isinstance(node, str) else node
    result = {_clean_schema(name, schemas): _clean_schema(part, schemas) for name, part in node.items()}
    if "$ref" in result:
        name = result["$ref"].removeprefix(REF)
        result["$ref"] = REF + _SCHEMA_NAMES.get(name, name)
    for name in _UNIONS:
        union = schemas[name]
        branch_count = len(union["anyOf"])
        if node is not union and node.get("anyOf", [])[:branch_count] == union["anyOf"]:
            other_branches = result["anyOf"][branch_count:]
            reference = {"$ref": REF + name}
            del result["anyOf"]
            result |= {"anyOf": [reference, *other_branches]} if other_branches else reference
    return result


def _item_list(responses: Schema) -> Schema:
    """The schema of a page of items, each with the ID that the server assigned."""
    item = {"allOf": [{"$ref": REF + "InputItem"}, {"type": "object", "required": ["id", "type"]}]}
    properties = responses["properties"] | {"data": {"type": "array", "items": item}}
    return {**responses, "title": "ItemList", "properties": properties}

"""Validation of the JSON Schemas that clients send: keywords, references and size.

A pydantic type in this module validates keywords. It accepts the same schemas as the metaschemas from Draft 4 on, in a
twentieth of the time that a validator takes with a metaschema; this matters because every create request is checked. No
external schema is fetched, and no pattern is executed.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    with_config,
)
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, Schema, SchemaResource, UnknownDialect, specification_with
from typing_extensions import TypedDict

from core import errors
from core.jsonio import JsonObject

DEPTH_LIMIT = 128  # levels of nesting
VALUES_LIMIT = 20_000  # in all schemas of one request
REFERENCES_LIMIT = 1_000  # in all schemas of one request
PATTERNS_LIMIT = 20_000  # characters, in all schemas of one request
_PATTERN_OVERHEAD = 20  # characters that are added to the length of each pattern
_MAX_QUOTE_LENGTH = 100  # characters of a location or value in an error message
_DRAFT_3 = "http://json-schema.org/draft-03/schema"  # not supported, because its keywords have other meanings


def _convert_integral_float(value: Any) -> Any:
    # To JSON Schema, a number with a zero fractional part is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _validate_pattern(pattern: str) -> str:
    """Check that a pattern is valid: it must compile in Python after its ECMA 262 constructs have been replaced."""
    # Named groups and references to them, and Unicode properties.
    python_pattern = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    python_pattern = re.sub(r"\\k<([A-Za-z_]\w*)>", r"(?P=\1)", python_pattern)
    python_pattern = re.sub(r"\\[pP](\{[^{}]*\}|[A-Z])", r"\\w", python_pattern)
    # `\u{...}`, `\cX`, and escaped letters that have no meaning in Python: each stands for one character.
    python_pattern = re.sub(
        r"\\u\{[0-9A-Fa-f]+\}|\\c[A-Za-z]|\\[A-Zace-mo-z](?<![ABDSUWZabdfnrstuvwx])", "x", python_pattern
    )
    try:
        re.compile(python_pattern)
    except (re.error, OverflowError, RecursionError) as error:
        if "look-behind" not in str(error):  # only Python requires a fixed width of a look-behind
            raise ValueError("not a regular expression") from error
    return pattern


def _validate_dialect(dialect: str) -> str:
    if dialect.rstrip("#") == _DRAFT_3:
        raise ValueError("unsupported dialect")
    return dialect


def _validate_uniqueness(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("duplicate values")
    return values


_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[int, BeforeValidator(_convert_integral_float), Field(ge=0)]
_Number = int | float
_Pattern = Annotated[str, AfterValidator(_validate_pattern)]
_Names = Annotated[list[str], AfterValidator(_validate_uniqueness)]
_Subschema = Annotated[
    Union[Annotated[bool, Tag("boolean")], Annotated["_Keywords", Tag("object")]],  # noqa: UP007  forward reference
    Discriminator(lambda value: "boolean" if isinstance(value, bool) else "object"),
]
_SubschemaOrList = Annotated[
    Annotated[_Subschema, Tag("one")] | Annotated[list[_Subschema], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "one"),
]
_SubschemasByName = dict[str, _Subschema]
_SubschemaList = Annotated[list[_Subschema], Field(min_length=1)]
# The type of each keyword's value. Other keywords are annotations and are not checked.
_Keywords = TypedDict(
    "_Keywords",
    {
        "$schema": Annotated[str, AfterValidator(_validate_dialect)],
        "$id": str,
        "$ref": str,
        "$anchor": str,
        "$dynamicRef": str,
        "$dynamicAnchor": str,
        "$comment": str,
        "$defs": _SubschemasByName,
        "definitions": _SubschemasByName,
        "type": _Type | Annotated[list[_Type], Field(min_length=1), AfterValidator(_validate_uniqueness)],
        "enum": list[Any],
        "properties": _SubschemasByName,
        "patternProperties": dict[_Pattern, _Subschema],
        "additionalProperties": _Subschema,
        "unevaluatedProperties": _Subschema,
        "propertyNames": _Subschema,
        "required": _Names,
        "minProperties": _Count,
        "maxProperties": _Count,
        "dependentRequired": dict[str, _Names],
        "dependentSchemas": _SubschemasByName,
        "dependencies": dict[str, _Subschema | _Names],
        "items": _SubschemaOrList,
        "prefixItems": _SubschemaList,
        "additionalItems": _Subschema,
        "unevaluatedItems": _Subschema,
        "contains": _Subschema,
        "minContains": _Count,
        "maxContains": _Count,
        "minItems": _Count,
        "maxItems": _Count,
        "uniqueItems": bool,
        "allOf": _SubschemaList,
        "anyOf": _SubschemaList,
        "oneOf": _SubschemaList,
        "not": _Subschema,
        "contentSchema": _Subschema,
        "if": _Subschema,
        "then": _Subschema,
        "else": _Subschema,
        "minimum": _Number,
        "maximum": _Number,
        "exclusiveMinimum": bool | _Number,
        "exclusiveMaximum": bool | _Number,
        "multipleOf": Annotated[_Number, Field(gt=0)],
        "minLength": _Count,
        "maxLength": _Count,
        "pattern": _Pattern,
        "format": str,
        "title": str,
        "description": str,
        "deprecated": bool,
        "readOnly": bool,
        "writeOnly": bool,
        "examples": list[Any],
    },
    total=False,
)
_SCHEMA = TypeAdapter(with_config(ConfigDict(strict=True, extra="ignore"))(_Keywords))


def check_schemas(schemas: dict[str, JsonObject]) -> None:
    """Check all JSON Schemas of a request.

    Args:
        schemas: the schemas, by parameter.

    Raises:
        errors.InvalidRequest: a schema is invalid, or the schemas exceed a limit. The error contains the parameter
            and, for an invalid schema, the location in the schema.
    """
    budget = _Budget()
    for param, schema in schemas.items():
        has_references = False
        for key, value in _walk(param, schema):
            has_references = budget.count_value(param, key, value) or has_references
        try:
            _SCHEMA.validate_python(schema)
        except ValidationError as error:
            raise _validation_error(param, schema, error.errors(include_url=False)[0]["loc"]) from error
        if has_references:
            _check_references(param, schema)


class _Budget:
    """The unused part of a request's limits.

    Keys in the values of `enum` and `default` that look like keywords are counted as keywords.
    """

    def __init__(self) -> None:
        self._values = VALUES_LIMIT
        self._references = REFERENCES_LIMIT
        self._patterns = PATTERNS_LIMIT

    def count_value(self, param: str, key: str | int, value: Any) -> bool:
        """Subtract one value from the limits; return whether it may be a reference."""
        is_reference = key in {"$ref", "$dynamicRef"} and isinstance(value, str)
        self._values -= 1
        self._references -= int(is_reference)
        if key == "pattern" and isinstance(value, str):
            self._patterns -= len(value) + _PATTERN_OVERHEAD
        elif key == "patternProperties" and isinstance(value, dict):
            self._patterns -= sum(len(pattern) + _PATTERN_OVERHEAD for pattern in value)
        if min(self._values, self._references, self._patterns) < 0:
            raise errors.InvalidRequest(
                f"Invalid '{param}': all schemas of a request together may have at most {VALUES_LIMIT:,} values, "
                f"{REFERENCES_LIMIT:,} references, and patterns of {PATTERNS_LIMIT:,} characters.",
                param=param,
            )
        return is_reference


def _walk(param: str, schema: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield every value in a schema with its key or index, without recursion."""
    stack: list[Iterator[tuple[str | int, Any]]] = [iter(schema.items())]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        yield entry
        value = entry[1]
        if isinstance(value, dict | list):
            if len(stack) >= DEPTH_LIMIT:
                raise errors.InvalidRequest(
                    f"'{param}' is nested too deeply: at most {DEPTH_LIMIT} levels are allowed.", param=param
                )
            stack.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))


def _validation_error(param: str, schema: Any, error_location: tuple[int | str, ...]) -> errors.InvalidRequest:
    """Return the error for a location that pydantic reports. Labels of union branches in the location are skipped."""
    pointer, value = "", schema
    for part in error_location:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        pointer += f"/{str(part).replace('~', '~0').replace('/', '~1')}"
    return _schema_error(param, pointer, f"it cannot be {_quote_value(value)}")


def _schema_error(param: str, location: str, reason: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"'{param}' is not a JSON schema at '{_shorten(location)}': {reason}.", param=param)


def _quote_value(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "this array"
    return _shorten(json.dumps(value, ensure_ascii=False))


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_QUOTE_LENGTH else f"{text[:_MAX_QUOTE_LENGTH]}…"


def _check_references(param: str, schema: JsonObject) -> None:
    """Check that every reference points to a location in the same schema, and that no reference is circular.

    A cycle is an error only if it consists of references alone. A cycle through other keywords is a recursive schema.
    """
    try:
        dialect = specification_with(schema.get("$schema", ""), default=DRAFT202012)
    except UnknownDialect:
        dialect = DRAFT202012
    resource: SchemaResource = dialect.create_resource(schema)
    try:
        registry: Registry[Schema] = Registry().with_resource(resource.id() or "", resource).crawl()
    except (ValueError, AttributeError) as error:  # an `$id` that is not a URI, or a Draft 4 `id` that is not a string
        raise _schema_error(param, "$id", "it contains an ID that is not a URI") from error
    stack = [(resource, registry.resolver_with_root(resource))]
    valid_ids: set[int] = set()
    while stack:
        resource, resolver = stack.pop()
        for keyword in ("$ref", "$dynamicRef"):
            _check_chain(param, keyword, resource.contents, resolver, valid_ids)
        stack += [(child, resolver.in_subresource(child)) for child in resource.subresources()]


def _check_chain(param: str, keyword: str, contents: Any, resolver: Any, valid_ids: set[int]) -> None:
    """Follow a chain of references to its end, or to a schema that starts a valid chain.

    Args:
        valid_ids: `id()` of each schema that starts a valid chain; this chain is added.
    """
    seen: set[int] = set()
    while isinstance(contents, dict) and isinstance(contents.get(keyword), str) and id(contents) not in valid_ids:
        reference = contents[keyword]
        if id(contents) in seen:
            raise _schema_error(param, keyword, f"{_quote_value(reference)} is a circular reference")
        seen.add(id(contents))
        try:
            target = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            raise _schema_error(
                param, keyword, f"{_quote_value(reference)} is not in this schema, and other schemas are not fetched"
            ) from error
        contents, resolver = target.contents, target.resolver
        if not isinstance(contents, dict | bool):
            raise _schema_error(param, keyword, f"{_quote_value(reference)} is not a schema")
    valid_ids |= seen

"""Validation of the JSON Schemas that clients send: keywords, references and size.

Keywords are validated by a pydantic model of this module. It accepts what the metaschemas from Draft 4 on accept, in a
twentieth of the time that walking a metaschema takes; this matters because the check runs on every create. Nothing is
fetched, and no pattern is ever executed.
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

DEPTH_LIMIT = 128  # levels of nesting
VALUES_LIMIT = 20_000  # in all schemas of one request
REFERENCES_LIMIT = 1_000  # in all schemas of one request
PATTERNS_LIMIT = 20_000  # characters, in all schemas of one request; each pattern counts this many more:
_PATTERN_ITSELF = 20
_SHOWN = 100
_DRAFT_3 = "http://json-schema.org/draft-03/schema"  # not supported: its keywords are different


def _integral(value: Any) -> Any:
    # To JSON Schema, a number with a zero fractional part is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_pattern(pattern: str) -> str:
    """Check that the pattern compiles in Python's dialect, after replacing the constructs that only ECMA 262 has."""
    known = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    known = re.sub(r"\\k<([A-Za-z_]\w*)>", r"(?P=\1)", known)
    known = re.sub(r"\\[pP](\{[^{}]*\}|[A-Z])", r"\\w", known)
    known = re.sub(r"\\u\{[0-9A-Fa-f]+\}|\\c[A-Za-z]|\\[A-Zace-mo-z](?<![ABDSUWZabdfnrstuvwx])", "x", known)
    try:
        re.compile(known)
    except (re.error, OverflowError, RecursionError) as error:
        if "look-behind" not in str(error):
            raise ValueError("not a regular expression") from error
    return pattern


def _is_served(dialect: str) -> str:
    if dialect.rstrip("#") == _DRAFT_3:
        raise ValueError("unsupported dialect")
    return dialect


def _differ(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("duplicate values")
    return values


_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[int, BeforeValidator(_integral), Field(ge=0)]
_Number = int | float
_Pattern = Annotated[str, AfterValidator(_is_pattern)]
_Names = Annotated[list[str], AfterValidator(_differ)]
_Any = Annotated[
    Union[Annotated[bool, Tag("boolean")], Annotated["_Keywords", Tag("object")]],  # noqa: UP007  forward reference
    Discriminator(lambda value: "boolean" if isinstance(value, bool) else "object"),
]
_AnyOrList = Annotated[
    Annotated[_Any, Tag("one")] | Annotated[list[_Any], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "one"),
]
_Many = dict[str, _Any]
_Some = Annotated[list[_Any], Field(min_length=1)]
# The type of each keyword's value. Keywords that are not listed are annotations and not checked.
_Keywords = TypedDict(
    "_Keywords",
    {
        "$schema": Annotated[str, AfterValidator(_is_served)],
        "$id": str,
        "$ref": str,
        "$anchor": str,
        "$dynamicRef": str,
        "$dynamicAnchor": str,
        "$comment": str,
        "$defs": _Many,
        "definitions": _Many,
        "type": _Type | Annotated[list[_Type], Field(min_length=1), AfterValidator(_differ)],
        "enum": list[Any],
        "properties": _Many,
        "patternProperties": dict[_Pattern, _Any],
        "additionalProperties": _Any,
        "unevaluatedProperties": _Any,
        "propertyNames": _Any,
        "required": _Names,
        "minProperties": _Count,
        "maxProperties": _Count,
        "dependentRequired": dict[str, _Names],
        "dependentSchemas": _Many,
        "dependencies": dict[str, _Any | _Names],
        "items": _AnyOrList,
        "prefixItems": _Some,
        "additionalItems": _Any,
        "unevaluatedItems": _Any,
        "contains": _Any,
        "minContains": _Count,
        "maxContains": _Count,
        "minItems": _Count,
        "maxItems": _Count,
        "uniqueItems": bool,
        "allOf": _Some,
        "anyOf": _Some,
        "oneOf": _Some,
        "not": _Any,
        "contentSchema": _Any,
        "if": _Any,
        "then": _Any,
        "else": _Any,
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


def check(schemas: dict[str, dict[str, Any]]) -> None:
    """Check all JSON Schemas of a request.

    Args:
        schemas: by the parameter that contains each.

    Raises:
        errors.InvalidRequest: a schema is invalid, or the schemas exceed a limit. The error names the parameter and,
            for an invalid schema, the location in it.
    """
    budget = _Budget()
    for param, schema in schemas.items():
        refers = False
        for name, value in _walk(param, schema):
            refers = budget.pay(param, name, value) or refers
        try:
            _SCHEMA.validate_python(schema)
        except ValidationError as error:
            raise _wrong(param, schema, error.errors(include_url=False)[0]["loc"]) from error
        if refers:
            _check_references(param, schema)


class _Budget:
    """The unused part of a request's limits. Values in `enum` and `default` that look like keywords count as such."""

    def __init__(self) -> None:
        self._values = VALUES_LIMIT
        self._references = REFERENCES_LIMIT
        self._patterns = PATTERNS_LIMIT

    def pay(self, param: str, name: str | int, value: Any) -> bool:
        """Count one value against the limits; return whether it may be a reference."""
        refers = name in {"$ref", "$dynamicRef"} and isinstance(value, str)
        self._values -= 1
        self._references -= refers
        if name == "pattern" and isinstance(value, str):
            self._patterns -= len(value) + _PATTERN_ITSELF
        elif name == "patternProperties" and isinstance(value, dict):
            self._patterns -= sum(len(pattern) + _PATTERN_ITSELF for pattern in value)
        if min(self._values, self._references, self._patterns) < 0:
            raise errors.InvalidRequest(
                f"Invalid '{param}': all schemas of a request together may have at most {VALUES_LIMIT:,} values, "
                f"{REFERENCES_LIMIT:,} references, and patterns of {PATTERNS_LIMIT:,} characters.",
                param=param,
            )
        return refers


def _walk(param: str, schema: Any) -> Iterator[tuple[str | int, Any]]:
    """Every value in a schema with its key or index, found without recursion."""
    waiting: list[Iterator[tuple[str | int, Any]]] = [iter(schema.items())]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        yield found
        value = found[1]
        if isinstance(value, dict | list):
            if len(waiting) >= DEPTH_LIMIT:
                raise errors.InvalidRequest(
                    f"'{param}' is nested too deeply: at most {DEPTH_LIMIT} levels are allowed.", param=param
                )
            waiting.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))


def _wrong(param: str, schema: Any, loc: tuple[int | str, ...]) -> errors.InvalidRequest:
    """The error for a location reported by pydantic, which contains the labels of union branches as well."""
    place, value = "", schema
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        place += f"/{str(part).replace('~', '~0').replace('/', '~1')}"
    return _refused(param, place, f"it cannot be {_shown(value)}")


def _refused(param: str, place: str, why: str) -> errors.InvalidRequest:
    where = place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"
    return errors.InvalidRequest(f"'{param}' is not a JSON schema at '{where}': {why}.", param=param)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "this array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _check_references(param: str, schema: dict[str, Any]) -> None:
    """Check that every reference leads to a location in the schema itself, and that none is circular.

    Only a cycle of references alone is circular; one that passes through other keywords is a recursive schema.
    """
    try:
        dialect = specification_with(schema.get("$schema", ""), default=DRAFT202012)
    except UnknownDialect:
        dialect = DRAFT202012
    resource: SchemaResource = dialect.create_resource(schema)
    try:
        registry: Registry[Schema] = Registry().with_resource(resource.id() or "", resource).crawl()
    except (ValueError, AttributeError) as error:  # not a URI, or an `id` as in Draft 4 that is not a string
        raise _refused(param, "$id", "it contains an ID that is not a URI") from error
    waiting = [(resource, registry.resolver_with_root(resource))]
    fine: set[int] = set()
    while waiting:
        resource, resolver = waiting.pop()
        for keyword in ("$ref", "$dynamicRef"):
            _follow(param, keyword, resource.contents, resolver, fine)
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _follow(param: str, keyword: str, contents: Any, resolver: Any, fine: set[int]) -> None:
    """Follow a chain of references to its end, or to a schema in `fine`, whose chain has been checked before."""
    seen: set[int] = set()
    while isinstance(contents, dict) and isinstance(contents.get(keyword), str) and id(contents) not in fine:
        reference = contents[keyword]
        if id(contents) in seen:
            raise _refused(param, keyword, f"{_shown(reference)} is a circular reference")
        seen.add(id(contents))
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            raise _refused(
                param, keyword, f"{_shown(reference)} is not in this schema, and other schemas are not fetched"
            ) from error
        contents, resolver = found.contents, found.resolver
        if not isinstance(contents, dict | bool):
            raise _refused(param, keyword, f"{_shown(reference)} is not a schema")
    fine |= seen

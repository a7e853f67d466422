"""JSON Schemas that clients send: whether they are schemas, refer only to themselves, and are small enough to use.

The keywords are checked by a model of our own: it takes what the metaschemas from Draft 4 on take, in a twentieth of
the time that walking a metaschema takes, and every create pays it. Nothing is fetched, no pattern is ever executed.
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

DEPTH_LIMIT = 128  # values in values
VALUES_LIMIT = 20_000  # in all schemas of one request
REFERENCES_LIMIT = 1_000  # in all of them
PATTERNS_LIMIT = 20_000  # characters, of all their patterns; each counts for so many more:
_PATTERN_ITSELF = 20
_SHOWN = 100
_DRAFT_3 = "http://json-schema.org/draft-03/schema"  # its keywords are other ones


def _integral(value: Any) -> Any:
    # Numbers are integers to JSON Schema where they are whole.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_pattern(pattern: str) -> str:
    """Compile it, as far as Python's dialect goes: what only ECMA 262 has is put in its words first."""
    known = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    known = re.sub(r"\\k<([A-Za-z_]\w*)>", r"(?P=\1)", known)
    known = re.sub(r"\\[pP](\{[^{}]*\}|[A-Z])", r"\\w", known)
    known = re.sub(r"\\u\{[0-9A-Fa-f]+\}|\\c[A-Za-z]|\\[A-Zace-mo-z](?<![ABDSUWZabdfnrstuvwx])", "x", known)
    try:
        re.compile(known)
    except (re.error, OverflowError, RecursionError) as error:
        if "look-behind" not in str(error):
            raise ValueError("no pattern") from error
    return pattern


def _is_served(dialect: str) -> str:
    if dialect.rstrip("#") == _DRAFT_3:
        raise ValueError("no dialect")
    return dialect


def _differ(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("the same twice")
    return values


_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
_Count = Annotated[int, BeforeValidator(_integral), Field(ge=0)]
_Number = int | float
_Pattern = Annotated[str, AfterValidator(_is_pattern)]
_Names = Annotated[list[str], AfterValidator(_differ)]
_Any = Annotated[
    Union[Annotated[bool, Tag("boolean")], Annotated["_Keywords", Tag("object")]],  # noqa: UP007  of a forward name
    Discriminator(lambda value: "boolean" if isinstance(value, bool) else "object"),
]
_AnyOrList = Annotated[
    Annotated[_Any, Tag("one")] | Annotated[list[_Any], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "one"),
]
_Many = dict[str, _Any]
_Some = Annotated[list[_Any], Field(min_length=1)]
# By keyword; those that are not here are annotations.
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
    """Return if all of a request's schemas, by the parameters they stand in, can be used.

    Raises:
        errors.InvalidRequest: one of them cannot; its parameter and the place in it are named.
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
    """What is left of a request's limits; enums and defaults may look like keywords, and pay like them."""

    def __init__(self) -> None:
        self._values = VALUES_LIMIT
        self._references = REFERENCES_LIMIT
        self._patterns = PATTERNS_LIMIT

    def pay(self, param: str, name: str | int, value: Any) -> bool:
        """Take one value into account; whether it may be a reference."""
        refers = name in {"$ref", "$dynamicRef"} and isinstance(value, str)
        self._values -= 1
        self._references -= refers
        if name == "pattern" and isinstance(value, str):
            self._patterns -= len(value) + _PATTERN_ITSELF
        elif name == "patternProperties" and isinstance(value, dict):
            self._patterns -= sum(len(pattern) + _PATTERN_ITSELF for pattern in value)
        if min(self._values, self._references, self._patterns) < 0:
            raise errors.InvalidRequest(
                f"Invalid '{param}': all schemas of a request together may have {VALUES_LIMIT:,} values, "
                f"{REFERENCES_LIMIT:,} references, and patterns of {PATTERNS_LIMIT:,} characters.",
                param=param,
            )
        return refers


def _walk(param: str, schema: Any) -> Iterator[tuple[str | int, Any]]:
    """Every value in a schema with its name or place, without recursion."""
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
    """The error for what stands at a place of pydantic's, which also has the names of branches in it."""
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
    """Follow every reference: to a place in the schema itself, and not round in a circle of references alone."""
    try:
        dialect = specification_with(schema.get("$schema", ""), default=DRAFT202012)
    except UnknownDialect:
        dialect = DRAFT202012
    resource: SchemaResource = dialect.create_resource(schema)
    try:
        registry: Registry[Schema] = Registry().with_resource(resource.id() or "", resource).crawl()
    except (ValueError, AttributeError) as error:  # no URI, or Draft 4's `id` as something that is no text
        raise _refused(param, "$id", "an ID in it is no URI") from error
    waiting = [(resource, registry.resolver_with_root(resource))]
    fine: set[int] = set()
    while waiting:
        resource, resolver = waiting.pop()
        for keyword in ("$ref", "$dynamicRef"):
            _follow(param, keyword, resource.contents, resolver, fine)
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _follow(param: str, keyword: str, contents: Any, resolver: Any, fine: set[int]) -> None:
    """Follow a reference, and the one it leads to, until it leads to more than a reference or to a `fine` one."""
    seen: set[int] = set()
    while isinstance(contents, dict) and isinstance(contents.get(keyword), str) and id(contents) not in fine:
        reference = contents[keyword]
        if id(contents) in seen:
            raise _refused(param, keyword, f"{_shown(reference)} leads to itself and nothing else")
        seen.add(id(contents))
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            raise _refused(
                param, keyword, f"{_shown(reference)} is no place in this schema, and others are not fetched"
            ) from error
        contents, resolver = found.contents, found.resolver
        if not isinstance(contents, dict | bool):
            raise _refused(param, keyword, f"{_shown(reference)} is no schema")
    fine |= seen

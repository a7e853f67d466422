"""The JSON Schemas that a request may contain, and the duration of their validation."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY

from core import errors
from core.wire import json_schema

PARAM = "text.format.schema"


def reference_chain(length: int, end: dict[str, Any]) -> dict[str, Any]:
    """A schema with `length` definitions that each refer to the next definition; the last of them refers to `end`."""
    definitions = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$defs": definitions | {f"d{length}": end}}


def nest(keyword: str, depth: int) -> dict[str, Any]:
    """A schema in which the value of the keyword is a schema with the same keyword, and so on to this depth."""
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {keyword: schema}
    return schema


def repeat_property(value: Any, count: int) -> dict[str, Any]:
    """A schema with `count` properties that have the same schema."""
    return {"properties": {f"p{n}": value for n in range(count)}}


VALID_SCHEMAS: dict[str, dict[str, Any]] = {
    "an empty schema": {},
    "recursion": {"type": "object", "properties": {"child": {"$ref": "#"}}},
    "recursion through a definition": {
        "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {}]}}}},
        "$ref": "#/$defs/node",
    },
    "an anchor": {"$defs": {"a": {"$anchor": "here"}}, "properties": {"x": {"$ref": "#here"}}},
    "an ID": {"$id": "https://example.com/s", "properties": {"x": {"$ref": "s#/$defs/a"}}, "$defs": {"a": {}}},
    "draft 7": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"a": {"type": "string"}},
        "items": [{"$ref": "#/definitions/a"}],
    },
    "an unknown draft": {"$schema": "https://example.com/schema", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}},
    "a property named $ref": {"properties": {"$ref": {"type": "string"}}},
    "values that look like references": {"enum": [{"$ref": "#/nowhere"}], "const": {"pattern": "("}},
    "unknown keywords": {"x-order": 1, "nullable": True, "example": {"type": 5}},
    "patterns with ECMA 262 constructs": {"allOf": [{"pattern": p} for p in (r"(?<y>\d{4})\k<y>", r"[\p{L}\-]+", r"\cA\u{1F600}\/", r"(?<=a|bc)d")]},
    "a pattern with catastrophic backtracking": {"pattern": "^(a+)+$", "examples": ["a" * 50 + "!"]},
    "a long chain of references": reference_chain(900, {"type": "string"}),
    "100 levels of nesting": nest("not", 100),
    "a length of 1.0": {"minLength": 1.0},
}  # fmt: skip

# Very large schemas are built in the test, because pytest keeps parameters in memory until it exits.
INVALID_SCHEMAS: dict[str, tuple[dict[str, Any] | Callable[[], dict[str, Any]], str]] = {
    "a wrong type": ({"properties": {"a": {"type": "strin"}}}, "at '/properties/a/type': it cannot be \"strin\""),
    "a wrong type in a list": ({"items": [{}, {"type": 5}]}, "at '/items/1/type': it cannot be 5"),
    "a schema that is a string": ({"properties": {"a": "string"}}, "at '/properties/a': it cannot be \"string\""),
    "a boolean for required": ({"properties": {"a": {"required": True}}}, "at '/properties/a/required'"),
    "a name required twice": ({"required": ["a", "a"]}, "at '/required'"),
    "an empty anyOf": ({"anyOf": []}, "at '/anyOf'"),
    "a negative length": ({"maxLength": -1}, "at '/maxLength': it cannot be -1"),
    "a string for a length": ({"maxLength": "1"}, "at '/maxLength': it cannot be \"1\""),
    "a multiple of zero": ({"multipleOf": 0}, "at '/multipleOf': it cannot be 0"),
    "a key with a slash": ({"properties": {"a/b~": {"type": 1}}}, "at '/properties/a~1b~0/type'"),
    "a pattern with an unclosed bracket": ({"items": {"pattern": "["}}, "at '/items/pattern': it cannot be \"[\""),
    "a property pattern with an unclosed group": ({"patternProperties": {"(": {}}}, "at '/patternProperties"),
    "5,000 nested groups": ({"pattern": "(" * 5000 + ")" * 5000}, "at '/pattern'"),
    "a reference to a missing definition": ({"properties": {"a": {"$ref": "#/$defs/a"}}}, '"#/$defs/a" is not in this schema'),
    "a reference to a missing anchor": ({"$ref": "#there"}, "is not in this schema"),
    "a reference to another host": ({"$ref": "http://169.254.169.254/latest"}, "other schemas are not fetched"),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, "other schemas are not fetched"),
    "a reference to the metaschema": ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "other schemas are not fetched"),
    "a reference to a string": ({"title": "a", "$ref": "#/title"}, '"#/title" is not a schema'),
    "an ID that is not a URI": ({"$id": "http://[a", "$ref": "#/a"}, "at '$id': it contains an ID that is not a URI"),
    "a Draft 4 ID that is a number": (
        {"$schema": "http://json-schema.org/draft-04/schema#", "not": {"id": 1}, "$ref": "#/not"}, "an ID that is not a URI"
    ),
    "Draft 3": (
        {"$schema": "http://json-schema.org/draft-03/schema#", "extends": 1, "$ref": "#/a"}, "at '/$schema': it cannot be"
    ),
    "an invalid content schema": ({"contentSchema": {"$anchor": []}, "$ref": "#"}, "at '/contentSchema/$anchor"),
    "a reference to itself": ({"$ref": "#"}, "circular reference"),
    "a cycle of references": (reference_chain(3, {"$ref": "#/$defs/d0"}), "circular reference"),
    "10,000 levels of nesting": (nest("not", 10_000), "nested too deeply: at most 128 levels"),
    "an enum with 10,000 levels of nesting": ({"enum": nest("a", 10_000)}, "nested too deeply"),
    "an enum of a million values": (lambda: {"enum": list(range(1_000_000))}, "20,000 values"),
    "a million properties": (lambda: repeat_property({}, 1_000_000), "20,000 values"),
    "2,000 references": (repeat_property({"$ref": "#/$defs/a"}, 2_000), "1,000 references"),
    "2,000 patterns": ({"patternProperties": {f"p{n}": {} for n in range(2_000)}}, "20,000 characters"),
    "a pattern of a million characters": ({"pattern": "a" * 1_000_000}, "20,000 characters"),
}  # fmt: skip

# The schemas within the limits that take the longest to validate.
SLOWEST_SCHEMAS: dict[str, dict[str, Any]] = {
    "properties": repeat_property({}, 19_990),
    "properties with a wrong type": repeat_property({"type": "strin"}, 9_900),
    "boolean schemas": {"allOf": [True] * 19_990},
    "references": {"$defs": {"a": {}}} | repeat_property({"$ref": "#/$defs/a"}, 999),
    "a chain of references": reference_chain(999, {}),
    "a cycle of references": reference_chain(998, {"$ref": "#/$defs/d0"}),
    "identifiers": {"$defs": {f"d{n}": {"$id": f"https://example.com/{n}", "$ref": "0"} for n in range(999)}},
    "patterns": {"patternProperties": {f"[a-z]{{{n}}}": {} for n in range(600)}},
    "a long pattern": {"pattern": "(?:a|b)" * 2_800},
}


@pytest.mark.parametrize("schema", VALID_SCHEMAS.values(), ids=VALID_SCHEMAS)
def test_a_valid_schema_is_accepted(schema: dict[str, Any]) -> None:
    json_schema.check_schemas({PARAM: schema})


@pytest.mark.parametrize(("schema", "message"), INVALID_SCHEMAS.values(), ids=INVALID_SCHEMAS)
def test_an_invalid_schema_is_rejected_with_its_location(
    schema: dict[str, Any] | Callable[[], dict[str, Any]], message: str
) -> None:
    request_schema = schema() if callable(schema) else schema
    with pytest.raises(errors.InvalidRequest) as error_info:
        json_schema.check_schemas({"tools[0].parameters": {}, PARAM: request_schema})

    assert error_info.value.param == PARAM
    assert message in str(error_info.value)
    assert len(str(error_info.value)) < 400


@pytest.mark.parametrize("schema", SLOWEST_SCHEMAS.values(), ids=SLOWEST_SCHEMAS)
def test_validation_of_the_slowest_schemas_takes_less_than_200_ms(schema: dict[str, Any]) -> None:
    def measure_cpu_s() -> float:
        cpu_before_s = time.thread_time()
        try:
            json_schema.check_schemas({PARAM: schema})
        except errors.InvalidRequest as error:
            assert "together may have" not in str(error)  # the schema is within the limits
        return time.thread_time() - cpu_before_s

    assert min(measure_cpu_s() for _ in range(3)) < 0.2


def test_the_limits_apply_to_the_sum_of_all_schemas_of_a_request() -> None:
    schemas = {f"tools[{n}].parameters": repeat_property({}, 2_000) for n in range(11)}

    with pytest.raises(errors.InvalidRequest) as error_info:
        json_schema.check_schemas(schemas)

    assert error_info.value.param == "tools[9].parameters"


_values = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(-1, 1), st.sampled_from(["string", "object", "a", ""]),
    st.lists(st.sampled_from(["string", "null", "a"]), max_size=3),
)  # fmt: skip
_METASCHEMA_URL = "https://json-schema.org/draft/2020-12/meta/"
_VOCABULARIES = ("core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation")
# The keywords of the metaschema, without `pattern` and keywords with `$`, for which not every string is valid, and
# without keywords that have a different meaning in older drafts.
_KEYWORDS = sorted(
    {
        keyword
        for vocabulary in _VOCABULARIES
        for keyword in REGISTRY.contents(_METASCHEMA_URL + vocabulary)["properties"]
        if "$" not in keyword
    }
    - {"pattern", "items", "exclusiveMinimum", "exclusiveMaximum"}
)
_schemas: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(st.sampled_from(_KEYWORDS), _values, max_size=2),
    lambda subschemas: st.dictionaries(
        st.sampled_from(_KEYWORDS),
        st.one_of(
            _values,
            subschemas,
            st.lists(subschemas, max_size=2),
            st.dictionaries(st.sampled_from("ab"), subschemas, max_size=2),
        ),
        max_size=2,
    ),
    max_leaves=4,
)


@settings(max_examples=500)
@given(_schemas)
def test_the_validation_agrees_with_the_metaschema(schema: dict[str, Any]) -> None:
    metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    try:
        json_schema.check_schemas({PARAM: schema})
        is_accepted = True
    except errors.InvalidRequest:
        is_accepted = False

    assert is_accepted == metaschema.is_valid(schema)

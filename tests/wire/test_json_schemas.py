"""The JSON Schemas that a request may contain, and the time that checking them takes."""

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


def chain(length: int, end: dict[str, Any]) -> dict[str, Any]:
    """Definitions that each refer to the next one."""
    steps = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$defs": steps | {f"d{length}": end}}


def nested(keyword: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {keyword: found}
    return found


def many(value: Any, count: int) -> dict[str, Any]:
    return {"properties": {f"p{n}": value for n in range(count)}}


GOOD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "recursion": {"type": "object", "properties": {"child": {"$ref": "#"}}},
    "recursion through a definition": {
        "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {}]}}}},
        "$ref": "#/$defs/node",
    },
    "an anchor": {"$defs": {"a": {"$anchor": "here"}}, "properties": {"x": {"$ref": "#here"}}},
    "an id of its own": {"$id": "https://example.com/s", "properties": {"x": {"$ref": "s#/$defs/a"}}, "$defs": {"a": {}}},
    "draft 7": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"a": {"type": "string"}},
        "items": [{"$ref": "#/definitions/a"}],
    },
    "an unknown draft": {"$schema": "https://example.com/schema", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}},
    "a property called $ref": {"properties": {"$ref": {"type": "string"}}},
    "values that look like references": {"enum": [{"$ref": "#/nowhere"}], "const": {"pattern": "("}},
    "unknown keywords": {"x-order": 1, "nullable": True, "example": {"type": 5}},
    "patterns of ECMA 262": {"allOf": [{"pattern": p} for p in (r"(?<y>\d{4})\k<y>", r"[\p{L}\-]+", r"\cA\u{1F600}\/", r"(?<=a|bc)d")]},
    "a pattern that would never end": {"pattern": "^(a+)+$", "examples": ["a" * 50 + "!"]},
    "a long chain of references": chain(900, {"type": "string"}),
    "100 levels": nested("not", 100),
    "whole decimals": {"minLength": 1.0},
}  # fmt: skip

# Very large schemas are built by their test: pytest keeps parameters in memory until it exits.
BAD: dict[str, tuple[dict[str, Any] | Callable[[], dict[str, Any]], str]] = {
    "a wrong type": ({"properties": {"a": {"type": "strin"}}}, "at '/properties/a/type': it cannot be \"strin\""),
    "a wrong type in a list": ({"items": [{}, {"type": 5}]}, "at '/items/1/type': it cannot be 5"),
    "a schema that is text": ({"properties": {"a": "string"}}, "at '/properties/a': it cannot be \"string\""),
    "required as a flag": ({"properties": {"a": {"required": True}}}, "at '/properties/a/required'"),
    "a name required twice": ({"required": ["a", "a"]}, "at '/required'"),
    "an empty anyOf": ({"anyOf": []}, "at '/anyOf'"),
    "a negative length": ({"maxLength": -1}, "at '/maxLength': it cannot be -1"),
    "a length of text": ({"maxLength": "1"}, "at '/maxLength': it cannot be \"1\""),
    "a multiple of nothing": ({"multipleOf": 0}, "at '/multipleOf': it cannot be 0"),
    "a key with a slash": ({"properties": {"a/b~": {"type": 1}}}, "at '/properties/a~1b~0/type'"),
    "an open bracket": ({"items": {"pattern": "["}}, "at '/items/pattern': it cannot be \"[\""),
    "an open group as a name": ({"patternProperties": {"(": {}}}, "at '/patternProperties"),
    "groups by the thousand": ({"pattern": "(" * 5000 + ")" * 5000}, "at '/pattern'"),
    "a reference to nothing": ({"properties": {"a": {"$ref": "#/$defs/a"}}}, '"#/$defs/a" is not in this schema'),
    "a reference to an anchor that is not": ({"$ref": "#there"}, "is not in this schema"),
    "a reference to another host": ({"$ref": "http://169.254.169.254/latest"}, "other schemas are not fetched"),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, "other schemas are not fetched"),
    "a reference to the metaschema": ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "other schemas are not fetched"),
    "a reference to a text": ({"title": "a", "$ref": "#/title"}, '"#/title" is not a schema'),
    "an ID that is no URI": ({"$id": "http://[a", "$ref": "#/a"}, "at '$id': it contains an ID that is not a URI"),
    "an ID of Draft 4 that is a number": (
        {"$schema": "http://json-schema.org/draft-04/schema#", "not": {"id": 1}, "$ref": "#/not"}, "an ID that is not a URI"
    ),
    "Draft 3": (
        {"$schema": "http://json-schema.org/draft-03/schema#", "extends": 1, "$ref": "#/a"}, "at '/$schema': it cannot be"
    ),
    "the schema of a content that is none": ({"contentSchema": {"$anchor": []}, "$ref": "#"}, "at '/contentSchema/$anchor"),
    "a reference to itself": ({"$ref": "#"}, "circular reference"),
    "references in a circle": (chain(3, {"$ref": "#/$defs/d0"}), "circular reference"),
    "10,000 levels": (nested("not", 10_000), "nested too deeply: at most 128 levels"),
    "arrays of 10,000 levels": ({"enum": nested("a", 10_000)}, "nested too deeply"),
    "an endless enum": (lambda: {"enum": list(range(1_000_000))}, "20,000 values"),
    "endless properties": (lambda: many({}, 1_000_000), "20,000 values"),
    "references by the thousand": (many({"$ref": "#/$defs/a"}, 2_000), "1,000 references"),
    "patterns by the thousand": ({"patternProperties": {f"p{n}": {} for n in range(2_000)}}, "20,000 characters"),
    "an endless pattern": ({"pattern": "a" * 1_000_000}, "20,000 characters"),
}  # fmt: skip

# As large and as slow as the limits permit.
WORST: dict[str, dict[str, Any]] = {
    "properties": many({}, 19_990),
    "wrong properties": many({"type": "strin"}, 9_900),
    "flags": {"allOf": [True] * 19_990},
    "references": {"$defs": {"a": {}}} | many({"$ref": "#/$defs/a"}, 999),
    "a chain": chain(999, {}),
    "a circle": chain(998, {"$ref": "#/$defs/d0"}),
    "identifiers": {"$defs": {f"d{n}": {"$id": f"https://example.com/{n}", "$ref": "0"} for n in range(999)}},
    "patterns": {"patternProperties": {f"[a-z]{{{n}}}": {} for n in range(600)}},
    "a long pattern": {"pattern": "(?:a|b)" * 2_800},
}


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD)
def test_a_schema_that_can_be_used_is_taken(schema: dict[str, Any]) -> None:
    json_schema.check({PARAM: schema})


@pytest.mark.parametrize(("schema", "says"), BAD.values(), ids=BAD)
def test_a_schema_that_cannot_be_used_is_refused_by_its_place(
    schema: dict[str, Any] | Callable[[], dict[str, Any]], says: str
) -> None:
    sent = schema() if callable(schema) else schema
    with pytest.raises(errors.InvalidRequest) as refused:
        json_schema.check({"tools[0].parameters": {}, PARAM: sent})

    assert refused.value.param == PARAM
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("schema", WORST.values(), ids=WORST)
def test_the_worst_schema_takes_less_than_a_fifth_of_a_second(schema: dict[str, Any]) -> None:
    def took() -> float:
        began = time.thread_time()
        try:
            json_schema.check({PARAM: schema})
        except errors.InvalidRequest as refused:
            assert "together may have" not in str(refused)  # it is within the limits
        return time.thread_time() - began

    assert min(took() for _ in range(3)) < 0.2


def test_the_limits_are_of_all_schemas_of_a_request_together() -> None:
    schemas = {f"tools[{n}].parameters": many({}, 2_000) for n in range(11)}

    with pytest.raises(errors.InvalidRequest) as refused:
        json_schema.check(schemas)

    assert refused.value.param == "tools[9].parameters"


_values = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(-1, 1), st.sampled_from(["string", "object", "a", ""]),
    st.lists(st.sampled_from(["string", "null", "a"]), max_size=3),
)  # fmt: skip
_META = "https://json-schema.org/draft/2020-12/meta/"
_PARTS = ("core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation")
# Without keywords whose strings have further constraints, and those that have other forms in older drafts.
_KEYWORDS = sorted(
    {keyword for part in _PARTS for keyword in REGISTRY.contents(_META + part)["properties"] if "$" not in keyword}
    - {"pattern", "items", "exclusiveMinimum", "exclusiveMaximum"}
)
_schemas: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(st.sampled_from(_KEYWORDS), _values, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(_KEYWORDS),
        st.one_of(
            _values, inner, st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
        ),
        max_size=2,
    ),
    max_leaves=4,
)


@settings(max_examples=500)
@given(_schemas)
def test_what_is_a_schema_is_what_the_metaschema_says(schema: dict[str, Any]) -> None:
    metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    try:
        json_schema.check({PARAM: schema})
        taken = True
    except errors.InvalidRequest:
        taken = False

    assert taken == metaschema.is_valid(schema)

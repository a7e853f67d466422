"""The search for the parameter of a body that is nested too deeply."""

import pytest

from app.bodies import find_deep_param

DEEP_JSON = b"[" * 3000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model": "m", "text": {"verbosity": "low", "format": {"schema": {"a": ' + DEEP_JSON, "text.format.schema"),
        (b'{"tools": [{"name": "[{"}, {"parameters": {"x": [1, ' + DEEP_JSON, "tools[1].parameters"),
        (b'{"tools": [{"name": {"x": [1, ' + DEEP_JSON, "tools"),
        (b'{"metadata": {"k": ' + DEEP_JSON, "metadata"),
        (b'{"a": {"text": 1}, "input": ' + DEEP_JSON, "input"),
        (b'{"\\"]": ' + DEEP_JSON, '\\"]'),
        (b'{"a": {}, "b": [[1, 2], {"c": 3}]}', None),
        (DEEP_JSON, None),
        (b"]" * 3000, None),
        (b'"' * 3001, None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_the_parameter_with_excessive_nesting_is_found(body: bytes, param: str | None) -> None:
    assert find_deep_param(body, 200) == param

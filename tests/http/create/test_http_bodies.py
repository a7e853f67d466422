"""Invalid and oversized request bodies are refused, and nothing is stored."""

import gzip
import http.client
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import openai
import pytest

from core.bootstrap import open_core
from core.settings import Settings
from tests.contract.shapes import nested, of_schema
from tests.harness.stack import Stack
from tests.http.http_api import GOOD, Api, error_of

BODY = json.dumps(GOOD).encode()
DEEP = 100_000


def with_value(raw: str) -> bytes:
    """A valid body with `raw` as the value of an unknown field."""
    return BODY[:-1] + b', "metadata": {"a": ' + raw.encode() + b"}}"


NOT_JSON = {
    "nothing": b"",
    "blanks": b" \r\n",
    "a word": b"hello",
    "an open brace": b"{",
    "half of it": BODY[: len(BODY) // 2],
    "all but the last brace": BODY[:-1],
    "two of it": BODY + BODY,
    "single quotes": b"{'model': 'scripted'}",
    "a comma too many": BODY[:-1] + b",}",
    "a comment": BODY + b"// good",
    "NaN": with_value("NaN"),
    "Infinity": with_value("Infinity"),
    "-Infinity": with_value("-Infinity"),
    "1e999": with_value("1e999"),
    "10^400": with_value("1" + "0" * 400),
    "a leading zero": with_value("01"),
    "hexadecimal": with_value("0x10"),
    "a lone high surrogate": with_value(r'"\ud800"'),
    "a lone low surrogate": with_value(r'"\udc00"'),
    "a lone surrogate as a key": BODY[:-1] + rb', "\ud800": 1}',
    "a bare control character": with_value('"\x00"'),
    "invalid UTF-8": b'{"model": "\xff"}',
    "a surrogate as UTF-8": b'{"model": "\xed\xa0\x80"}',
    "overlong UTF-8": b'{"model": "\xc0\x80"}',
    "Latin-1": '{"model": "é"}'.encode("latin-1"),
    "UTF-16": BODY.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "gzip without saying so": gzip.compress(BODY),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused_and_nothing_is_stored(api: Api, body: bytes) -> None:
    before = api.stored()

    says = error_of(api.post(body), 400, "invalid_value")

    assert says.startswith("We could not parse the JSON body of your request: ")
    assert api.stored() == before


@pytest.mark.parametrize("body", [b"null", b"true", b"5", b"1e5", b'"hi"', b"[]", b"[" + BODY + b"]"])
def test_json_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    before = api.stored()

    assert "must be a JSON object" in error_of(api.post(body), 400, "invalid_type")

    assert api.stored() == before


@pytest.mark.parametrize("depth", [100, 238])
@pytest.mark.parametrize(
    ("place", "code", "param"),
    [
        (', "unheard_of": {deep}', None, None),
        (', "input": {deep}', "invalid_type", "input[0]"),
        (', "input": [{"x": {deep}}]', "missing_required_parameter", "input[0].role"),
        (', "input": [{"role": {deep}, "content": ""}]', "invalid_type", "input[0].role"),
        (', "model": null, "x": {deep}', "missing_required_parameter", "model"),
        (', "temperature": {deep}', "invalid_type", "temperature"),
        (', "service_tier": {deep}', "invalid_type", "service_tier"),
        (', "metadata": {"a": {deep}}', "invalid_type", "metadata.a"),
        (', "tools": {deep}', "invalid_type", "tools[0]"),
        (', "tools": [{"type": "web_search", "x": {deep}}]', None, None),
        (', "tools": [{"type": {deep}}]', "invalid_type", "tools[0].type"),
        (', "tool_choice": {"type": {deep}}', "invalid_type", "tool_choice.type"),
        (', "text": {"format": {deep}}', "invalid_type", "text.format"),
        (', "reasoning": {"effort": {deep}}', "invalid_type", "reasoning.effort"),
        (', "include": {deep}', "invalid_type", "include[0]"),
        (', "input": [{"type": "mcp_call", "x": {deep}}]', None, None),
        (', "conversation": {deep}', "unsupported_parameter", "conversation"),
    ],
)
def test_a_deep_value_is_no_harm_anywhere(
    api: Api, depth: int, place: str, code: str | None, param: str | None
) -> None:
    deep = "[" * depth + "]" * depth

    answer = api.post(BODY[:-1] + place.replace("{deep}", deep).encode() + b"}")

    if code is not None:
        error_of(answer, 400, code, param)
        return
    assert answer.status_code == 200
    created = answer.get_json()
    assert api.get(created["id"]).get_json() == created
    assert api.items(created["id"]).status_code == 200
    assert api.listed(limit=1).get_json()["data"] == [created]


@pytest.mark.parametrize("depth", [250, 300, 1000, 10_000, DEEP])
@pytest.mark.parametrize(
    ("place", "param"),
    [
        (', "unheard_of": {deep}', "unheard_of"),
        (', "model": {deep}', "model"),
        (', "input": {deep}', "input"),
        (', "metadata": {"a": {deep}}', "metadata"),
        (', "tools": [{"type": "function", "name": "f", "parameters": {"x": {deep}}}]', "tools[0].parameters"),
        (
            ', "text": {"format": {"type": "json_schema", "name": "n", "schema": {"x": {deep}}}}',
            "text.format.schema",
        ),
    ],
)
def test_what_is_nested_too_deeply_to_be_written_again_is_refused(api: Api, depth: int, place: str, param: str) -> None:
    before = api.stored()
    deep = "[" * depth + "]" * depth

    says = error_of(api.post(BODY[:-1] + place.replace("{deep}", deep).encode() + b"}"), 400, "invalid_value", param)

    assert says == "The body is nested too deeply."
    assert api.stored() == before


@pytest.mark.parametrize(("body", "param"), [(b"[" * DEEP, None), (b'{"a":' * DEEP, "a")])
def test_what_is_nested_without_end_is_refused(api: Api, body: bytes, param: str | None) -> None:
    assert error_of(api.post(body), 400, "invalid_value", param) == "The body is nested too deeply."


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "name": "f", "parameters": nested(200)}]}, "tools[0].parameters"),
        ({"text": of_schema(schema=nested(200))}, "text.format.schema"),
    ],
)
def test_a_schema_that_is_nested_too_deeply_to_be_used_is_refused(
    api: Api, changes: dict[str, Any], param: str
) -> None:
    before = api.stored()

    says = error_of(api.create(**changes), 400, "invalid_value", param)

    assert says == f"'{param}' is nested too deeply: at most 128 levels are allowed."
    assert api.stored() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "garbage",
    ],
)
def test_a_body_of_another_content_type_is_refused(api: Api, content_type: str) -> None:
    before = api.stored()

    says = error_of(api.post(BODY, content_type=content_type), 400, "invalid_value")

    assert "application/json" in says
    assert api.stored() == before


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_json_may_be_announced_in_any_spelling_or_not_at_all(api: Api, content_type: str | None) -> None:
    assert api.post(BODY, content_type=content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["deflate", "zstd", "br", "gzip, identity", "gzip, gzip"])
def test_a_compressed_body_is_refused_by_the_name_of_its_encoding(api: Api, encoding: str) -> None:
    before = api.stored()

    answer = api.post(gzip.compress(BODY), headers={"Content-Encoding": encoding})

    assert f"'{encoding}'" in error_of(answer, 400, "invalid_value")
    assert api.stored() == before
    assert api.post(BODY, headers={"Content-Encoding": "identity"}).status_code == 200


def test_a_server_with_strict_parameters_refuses_what_the_api_does_not_have(settings: Settings) -> None:
    with open_core(settings.model_copy(update={"strict_params": True}), connections=2) as core:
        api = Api(core)
        before = api.stored()
        error_of(api.create(unheard_of=1), 400, "unknown_parameter", "unheard_of")
        error_of(api.create(**{"x" * 5000: 1}), 400, "unknown_parameter", "x" * 100)
        assert api.stored() == before

        assert api.create(client_metadata={"a": 1}, stream=False, conversation=None).status_code == 200


def padded(size: int) -> bytes:
    """A valid body of this many bytes."""
    return BODY + b" " * (size - len(BODY))


@pytest.fixture
def narrow(settings: Settings) -> Iterator[Api]:
    """An application with a body limit of 2048 bytes."""
    with open_core(settings.model_copy(update={"body_limit_bytes": 2048}), connections=2) as core:
        yield Api(core)


def test_a_body_over_the_limit_is_refused_and_one_that_just_fits_is_not(narrow: Api) -> None:
    assert narrow.post(padded(2048)).status_code == 200
    before = narrow.stored()

    assert "2048 bytes" in error_of(narrow.post(padded(2049)), 413, "request_too_large")

    assert narrow.stored() == before


def test_a_body_that_does_not_say_its_length_is_counted_as_it_comes(narrow: Api) -> None:
    before = narrow.stored()
    chunked = {"headers": {"Transfer-Encoding": "chunked"}, "environ_overrides": {"wsgi.input_terminated": True}}

    answer = narrow.post(None, input_stream=io.BytesIO(padded(2049)), **chunked)

    error_of(answer, 413, "request_too_large")
    assert narrow.stored() == before
    assert narrow.post(None, input_stream=io.BytesIO(BODY), **chunked).status_code == 200


def test_a_body_that_ends_before_its_length_is_refused(narrow: Api) -> None:
    before = narrow.stored()

    answer = narrow.post(
        None,
        input_stream=io.BytesIO(BODY),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": "2000"},
    )

    error_of(answer, 400, "invalid_value")
    assert narrow.stored() == before


def test_the_real_server_refuses_large_chunked_and_broken_requests_and_stores_nothing(stack: Stack) -> None:
    stack.up("valkey", "api", BODY_LIMIT_BYTES="100000")
    headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}

    def post(body: bytes, **more: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
        try:
            pieces = [body[at : at + 9000] for at in range(0, len(body), 9000)] if more else body
            with suppress(BrokenPipeError):  # the server may refuse it before it is completely sent
                connection.request("POST", "/v1/responses", pieces, headers | more, encode_chunked=bool(more))
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        finally:
            connection.close()

    chunked = {"Transfer-Encoding": "chunked"}
    refused = [post(padded(100_001)), post(padded(120_000), **chunked), post(b"[" * 90_000), post(b"", **chunked)]
    with stack.client() as client, pytest.raises(openai.APIStatusError) as huge:
        client.responses.create(model="scripted", input="x" * 5_000_000, background=True)

    assert [(status, body["error"]["code"]) for status, body in refused] == [
        (413, "request_too_large"),
        (413, "request_too_large"),
        (400, "invalid_value"),
        (400, "invalid_value"),
    ]
    assert huge.value.status_code == 413
    assert stack.sql("select count(*) from responses") == [(0,)]
    assert [post(BODY)[0], post(padded(100_000))[0], post(padded(99_000), **chunked)[0]] == [200, 200, 200]
    assert "Traceback" not in stack.log("api")

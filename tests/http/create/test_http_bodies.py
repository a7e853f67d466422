"""Invalid and oversized request bodies are rejected, and nothing is stored."""

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
from tests.contract.objects import nested_object, with_schema
from tests.harness.stack import Stack
from tests.http.http_api import VALID_REQUEST, Api, check_error

BODY = json.dumps(VALID_REQUEST).encode()
EXCESSIVE_DEPTH = 100_000


def body_with_value(value: str) -> bytes:
    """A valid body with this JSON text as a value of `metadata`."""
    return BODY[:-1] + b', "metadata": {"a": ' + value.encode() + b"}}"


INVALID_JSON = {
    "an empty body": b"",
    "only whitespace": b" \r\n",
    "a word": b"hello",
    "an open brace": b"{",
    "half of a body": BODY[: len(BODY) // 2],
    "a missing last brace": BODY[:-1],
    "two bodies": BODY + BODY,
    "single quotes": b"{'model': 'scripted'}",
    "a trailing comma": BODY[:-1] + b",}",
    "a comment": BODY + b"// comment",
    "NaN": body_with_value("NaN"),
    "Infinity": body_with_value("Infinity"),
    "-Infinity": body_with_value("-Infinity"),
    "1e999": body_with_value("1e999"),
    "10^400": body_with_value("1" + "0" * 400),
    "a leading zero": body_with_value("01"),
    "hexadecimal": body_with_value("0x10"),
    "a lone high surrogate": body_with_value(r'"\ud800"'),
    "a lone low surrogate": body_with_value(r'"\udc00"'),
    "a lone surrogate as a key": BODY[:-1] + rb', "\ud800": 1}',
    "a bare control character": body_with_value('"\x00"'),
    "invalid UTF-8": b'{"model": "\xff"}',
    "a surrogate as UTF-8": b'{"model": "\xed\xa0\x80"}',
    "overlong UTF-8": b'{"model": "\xc0\x80"}',
    "Latin-1": '{"model": "é"}'.encode("latin-1"),
    "UTF-16": BODY.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "gzip without Content-Encoding": gzip.compress(BODY),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("body", INVALID_JSON.values(), ids=INVALID_JSON)
def test_invalid_json_is_rejected_and_nothing_is_stored(api: Api, body: bytes) -> None:
    row_counts = api.count_rows()

    message = check_error(api.post_body(body), 400, "invalid_value")

    assert message.startswith("We could not parse the JSON body of your request: ")
    assert api.count_rows() == row_counts


@pytest.mark.parametrize("body", [b"null", b"true", b"5", b"1e5", b'"hi"', b"[]", b"[" + BODY + b"]"])
def test_json_that_is_not_an_object_is_rejected(api: Api, body: bytes) -> None:
    row_counts = api.count_rows()

    assert "must be a JSON object" in check_error(api.post_body(body), 400, "invalid_type")

    assert api.count_rows() == row_counts


# The complete body may have about 240 levels of nesting.
@pytest.mark.parametrize("depth", [100, 238])
@pytest.mark.parametrize(
    ("body_template", "code", "param"),
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
def test_a_deeply_nested_value_is_accepted_or_rejected_with_its_location(
    api: Api, depth: int, body_template: str, code: str | None, param: str | None
) -> None:
    brackets = "[" * depth + "]" * depth
    other_parameters = {name: value for name, value in VALID_REQUEST.items() if f', "{name}"' not in body_template}

    answer = api.post_body(
        (json.dumps(other_parameters)[:-1] + body_template.replace("{deep}", brackets) + "}").encode()
    )

    if code is not None:
        check_error(answer, 400, code, param)
        return
    assert answer.status_code == 200
    response = answer.get_json()
    assert api.get_response(response["id"]).get_json() == response
    assert api.list_input_items(response["id"]).status_code == 200
    assert api.list_responses(limit=1).get_json()["data"] == [response]


@pytest.mark.parametrize("depth", [250, 300, 1000, 10_000, EXCESSIVE_DEPTH])
@pytest.mark.parametrize(
    ("body_template", "param"),
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
def test_a_body_nested_too_deeply_to_serialize_is_rejected(
    api: Api, depth: int, body_template: str, param: str
) -> None:
    row_counts = api.count_rows()
    brackets = "[" * depth + "]" * depth

    message = check_error(
        api.post_body(BODY[:-1] + body_template.replace("{deep}", brackets).encode() + b"}"),
        400,
        "invalid_value",
        param,
    )

    assert message == "The body is nested too deeply."
    assert api.count_rows() == row_counts


@pytest.mark.parametrize(("body", "param"), [(b"[" * EXCESSIVE_DEPTH, None), (b'{"a":' * EXCESSIVE_DEPTH, "a")])
def test_a_body_with_100_000_levels_of_nesting_is_rejected(api: Api, body: bytes, param: str | None) -> None:
    assert check_error(api.post_body(body), 400, "invalid_value", param) == "The body is nested too deeply."


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "name": "f", "parameters": nested_object(200)}]}, "tools[0].parameters"),
        ({"text": with_schema(schema=nested_object(200))}, "text.format.schema"),
    ],
)
def test_a_schema_with_excessive_nesting_is_rejected(api: Api, changes: dict[str, Any], param: str) -> None:
    row_counts = api.count_rows()

    message = check_error(api.post_response(**changes), 400, "invalid_value", param)

    assert message == f"'{param}' is nested too deeply: at most 128 levels are allowed."
    assert api.count_rows() == row_counts


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "garbage",
        "application/jsön",
    ],
)
def test_a_body_of_another_content_type_is_rejected(api: Api, content_type: str) -> None:
    row_counts = api.count_rows()

    message = check_error(api.post_body(BODY, content_type=content_type), 400, "invalid_value")

    assert "application/json" in message
    assert api.count_rows() == row_counts


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_the_content_type_of_json_may_have_any_spelling_or_be_absent(api: Api, content_type: str | None) -> None:
    assert api.post_body(BODY, content_type=content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["", "deflate", "zstd", "br", "gzip, identity", "gzip, gzip"])
def test_an_unsupported_content_encoding_is_rejected_by_name(api: Api, encoding: str) -> None:
    row_counts = api.count_rows()

    answer = api.post_body(gzip.compress(BODY), headers={"Content-Encoding": encoding})

    assert f"'{encoding}'" in check_error(answer, 400, "invalid_value")
    assert api.count_rows() == row_counts
    assert api.post_body(BODY, headers={"Content-Encoding": "identity"}).status_code == 200


def test_a_server_with_strict_parameters_rejects_unknown_parameters(settings: Settings) -> None:
    with open_core(settings.model_copy(update={"strict_params": True}), connections=2) as core:
        api = Api(core)
        row_counts = api.count_rows()
        check_error(api.post_response(unheard_of=1), 400, "unknown_parameter", "unheard_of")
        check_error(api.post_response(**{"x" * 5000: 1}), 400, "unknown_parameter", "x" * 100)
        assert api.count_rows() == row_counts

        assert api.post_response(client_metadata={"a": 1}, stream=False, conversation=None).status_code == 200


def padded_body(size_bytes: int) -> bytes:
    """A valid body of this size, padded with spaces."""
    return BODY + b" " * (size_bytes - len(BODY))


REPEATED_NAMES = {
    "a parameter": b'{"model": "other", ' + BODY[1:],
    "a compact body": b'{"model":"other","model":"scripted","input":"hi","background":true}',
    "an escaped name": BODY[:-1] + rb', "\u006dodel": "other"}',
    "equal values": BODY[:-1] + b', "model": "scripted"}',
    "an unknown parameter": BODY[:-1] + b', "x": 1, "x": 2}',
    "metadata": body_with_value('"b", "a": "c"'),
    "input": BODY[:-1] + b', "input": [{"role": "user", "role": "system", "content": "x"}]}',
    "a schema": BODY[:-1]
    + b', "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {}, "a": {}}}}]}',
}


@pytest.mark.parametrize("body", REPEATED_NAMES.values(), ids=REPEATED_NAMES)
def test_a_body_with_a_repeated_name_is_rejected(api: Api, body: bytes) -> None:
    row_counts = api.count_rows()

    assert "twice" in check_error(api.post_body(body), 400, "invalid_value")
    assert api.count_rows() == row_counts


@pytest.mark.parametrize("name", ["", "\0", "\n", "mod\x1bel", "\x7f", "\u2028", "x" * 1000 + "\t"])
def test_a_parameter_with_an_empty_or_unprintable_name_is_rejected(api: Api, name: str) -> None:
    row_counts = api.count_rows()

    check_error(api.post_response(**{name: None}), 400, "unknown_parameter", name[:100])
    assert api.count_rows() == row_counts


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(VALID_REQUEST, indent=2).encode(),
        BODY[:-1] + b', "temperature": 1e0, "user": "\\u00e9", "tools": []}',
        body_with_value('"b", "b": "a", "A": "c"'),
        BODY[:-1] + b', "unknown": [' + b"9" * 300 + b", 0." + b"1" * 9000 + b", {}, [[]]]}",
    ],
)
def test_a_body_may_be_written_in_any_way_without_repeated_names(api: Api, body: bytes) -> None:
    assert api.post_body(body).status_code == 200


@pytest.fixture
def small_api(settings: Settings) -> Iterator[Api]:
    """An application with a body limit of 2048 bytes."""
    with open_core(settings.model_copy(update={"body_limit_bytes": 2048}), connections=2) as core:
        yield Api(core)


def test_only_a_body_above_the_size_limit_is_rejected(small_api: Api) -> None:
    assert small_api.post_body(padded_body(2048)).status_code == 200
    row_counts = small_api.count_rows()

    assert "2048 bytes" in check_error(small_api.post_body(padded_body(2049)), 413, "request_too_large")

    assert small_api.count_rows() == row_counts


def test_the_size_limit_applies_to_a_body_without_content_length(small_api: Api) -> None:
    row_counts = small_api.count_rows()
    chunked = {"headers": {"Transfer-Encoding": "chunked"}, "environ_overrides": {"wsgi.input_terminated": True}}

    answer = small_api.post_body(None, input_stream=io.BytesIO(padded_body(2049)), **chunked)

    check_error(answer, 413, "request_too_large")
    assert small_api.count_rows() == row_counts
    assert small_api.post_body(None, input_stream=io.BytesIO(BODY), **chunked).status_code == 200


def test_a_body_shorter_than_its_content_length_is_rejected(small_api: Api) -> None:
    row_counts = small_api.count_rows()

    answer = small_api.post_body(
        None,
        input_stream=io.BytesIO(BODY),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": "2000"},
    )

    check_error(answer, 400, "invalid_value")
    assert small_api.count_rows() == row_counts


def test_the_server_rejects_oversized_and_malformed_requests_and_stores_nothing(stack: Stack) -> None:
    stack.up("valkey", "api", BODY_LIMIT_BYTES="100000")
    headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}

    def post_bytes(body: bytes, *, is_chunked: bool = False) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
        try:
            with suppress(BrokenPipeError):  # the server may reject a body before the client has sent all of it
                if is_chunked:
                    chunks = [body[start : start + 9000] for start in range(0, len(body), 9000)]
                    chunked_headers = headers | {"Transfer-Encoding": "chunked"}
                    connection.request("POST", "/v1/responses", chunks, chunked_headers, encode_chunked=True)
                else:
                    connection.request("POST", "/v1/responses", body, headers)
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        finally:
            connection.close()

    rejections = [
        post_bytes(padded_body(100_001)),
        post_bytes(padded_body(120_000), is_chunked=True),
        post_bytes(b"[" * 90_000),
        post_bytes(b"", is_chunked=True),
    ]
    with stack.client() as client, pytest.raises(openai.APIStatusError) as error_info:
        client.responses.create(model="scripted", input="x" * 5_000_000, background=True)

    assert [(status, body["error"]["code"]) for status, body in rejections] == [
        (413, "request_too_large"),
        (413, "request_too_large"),
        (400, "invalid_value"),
        (400, "invalid_value"),
    ]
    assert error_info.value.status_code == 413
    assert stack.sql("select count(*) from responses") == [(0,)]
    assert [
        post_bytes(BODY)[0],
        post_bytes(padded_body(100_000))[0],
        post_bytes(padded_body(99_000), is_chunked=True)[0],
    ] == [200, 200, 200]
    assert "Traceback" not in stack.log("api")

"""The parsing of requests: supported, ignored and rejected parameters, and the memory that a rejection needs."""

import json
import tracemalloc
import typing
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from openai.types.responses import response_create_params
from openresponses_types.types import CreateResponseBody
from werkzeug.test import EnvironBuilder

from app import bodies, parsing
from core import errors, jsonio
from core.context import context
from core.wire.items import normalize_item
from core.wire.request import UNSUPPORTED_PARAMETERS, CreateResponse
from tests import contract

VALID_REQUEST = {"model": "scripted", "input": "hi", "background": True}
# Parameters of OpenAI's API that concern only OpenAI's own servers and affect no answer.
IGNORED_PARAMETERS = {"access_programs", "image"}


def parse_request(strict: bool = False, **changes: Any) -> CreateResponse:
    return parsing.create_response(VALID_REQUEST | changes, strict=strict)


def parse_invalid_request(strict: bool = False, **changes: Any) -> errors.InvalidRequest:
    with pytest.raises(errors.InvalidRequest) as error_info:
        parse_request(strict, **changes)
    return error_info.value


def test_every_published_parameter_is_supported_rejected_by_name_or_ignored() -> None:
    openai_parameters = set(typing.get_type_hints(response_create_params.ResponseCreateParamsBase)) | {"stream"}
    published_parameters = openai_parameters | set(CreateResponseBody.model_fields)

    assert published_parameters - set(CreateResponse.model_fields) - set(UNSUPPORTED_PARAMETERS) == IGNORED_PARAMETERS
    assert set(UNSUPPORTED_PARAMETERS) <= published_parameters
    assert not set(UNSUPPORTED_PARAMETERS) & set(CreateResponse.model_fields)


def test_the_tables_of_the_contract_contain_every_parameter_once() -> None:
    rows = [(parameter.name, parameter.part) for parameter in contract.PARAMETERS]

    supported_parameters = set(CreateResponse.model_fields)
    ignored_parameters = IGNORED_PARAMETERS | {"client_metadata"}
    assert {name for name, _ in rows} == supported_parameters | set(UNSUPPORTED_PARAMETERS) | ignored_parameters
    assert len(rows) == len(set(rows))


UNSUPPORTED_EXAMPLES: dict[str, Any] = {
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "moderation": {"model": "m"},
}


def test_every_unsupported_parameter_has_an_example() -> None:
    assert UNSUPPORTED_EXAMPLES.keys() == UNSUPPORTED_PARAMETERS


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", UNSUPPORTED_EXAMPLES)
def test_an_unsupported_parameter_is_rejected_by_name_unless_it_is_null(name: str, strict: bool) -> None:
    for value in (UNSUPPORTED_EXAMPLES[name], "nonsense", 5, True, {"a": {}}, [[]]):
        error = parse_invalid_request(strict, **{name: value})
        assert (error.code, error.param) == ("unsupported_parameter", name)
        assert str(error) == f"'{name}' is not supported."

    assert parse_request(strict, **{name: None}) == parse_request()


@pytest.mark.parametrize(("name", "value"), [("top_logprobs", False), ("truncation", "Disabled")])
def test_a_value_that_resembles_the_default_is_rejected(name: str, value: Any) -> None:
    assert parse_invalid_request(**{name: value}).param == name


def test_an_unsupported_parameter_is_reported_before_a_missing_parameter() -> None:
    assert parse_invalid_request(model=None, input=None, moderation={"model": "m"}).param == "moderation"
    assert parse_invalid_request(input=None, conversation="conv_1").param == "conversation"
    assert parse_invalid_request(input=[{"type": "function_call_output"}], moderation={}).param == "moderation"


@pytest.mark.parametrize(
    "name", ["unheard_of", "Model", "max_tokens", "messages", "n", "", "<input>", "a.b", "x" * 5000]
)
def test_an_unknown_parameter_is_rejected_only_in_strict_mode(name: str) -> None:
    assert parse_request(**{name: 1}) == parse_request()

    error = parse_invalid_request(strict=True, **{name: 1})
    assert (error.code, error.param) == ("unknown_parameter", name[:100])
    assert str(error) == f"Unknown parameter: '{name[:100]}'."


@pytest.mark.parametrize("name", ["access_programs", "image", "client_metadata"])
@pytest.mark.parametrize("value", [{"a": 1}, "x", None])
def test_a_parameter_of_other_vendors_is_ignored_in_strict_mode(name: str, value: Any) -> None:
    assert parse_request(strict=True, **{name: value}) == parse_request()


def test_strict_mode_accepts_unknown_fields_inside_parameters() -> None:
    message = [{"role": "user", "content": "hi", "unheard_of": 1}]

    assert parse_request(strict=True, input=message, tools=[{"type": "function", "name": "f", "unheard_of": 1}])


REPETITIONS = 300_000
# Functions create the values, because pytest keeps the parameters of tests in memory until it exits.
REPETITIVE_VALUES: list[tuple[str, Callable[[], Any]]] = [
    ("input", lambda: [0] * REPETITIONS),
    ("input", lambda: [{}] * REPETITIONS),
    ("input", lambda: [{"role": "user", "content": [{}] * REPETITIONS}]),
    ("input", lambda: [{"role": "user", "content": [0] * REPETITIONS}] * 3),
    ("metadata", lambda: dict.fromkeys(map(str, range(REPETITIONS)), 0)),
    ("metadata", lambda: dict.fromkeys(("k" * 65 + str(number) for number in range(REPETITIONS)), "")),
]


@pytest.mark.parametrize(("name", "create_value"), REPETITIVE_VALUES, ids=range(len(REPETITIVE_VALUES)))
def test_the_rejection_of_a_body_with_many_errors_needs_little_memory(
    name: str, create_value: Callable[[], Any]
) -> None:
    body_text = json.dumps(VALID_REQUEST | {name: create_value()})
    environ = EnvironBuilder(
        "/v1/responses", method="POST", data=body_text, content_type="application/json"
    ).get_environ()
    tracemalloc.start()
    try:
        parsed_body = bodies.decode_body(bodies.read_body(environ, limit_bytes=2**30, upload_slot=nullcontext()))
        initial_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with pytest.raises(errors.InvalidRequest):
            parsing.validate(CreateResponse, parsed_body)
        peak_growth_bytes = tracemalloc.get_traced_memory()[1] - initial_bytes
    finally:
        tracemalloc.stop()

    assert peak_growth_bytes < 1_000_000


def test_a_stored_request_is_read_unchanged() -> None:
    original_request = parse_request(
        input=[{"role": "user", "content": "a\0\u2028"}, {"type": "mcp_call", "x": None}],
        metadata={"a": "b"},
        temperature=0,
        tools=[{"type": "function", "name": "f", "strict": False}, {"type": "custom", "name": "c"}, {"type": "shell"}],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"a": None}}},
        reasoning={"effort": "low", "mode": "pro"},
    )
    items = [normalize_item(item) for item in original_request.input or ()]

    restored_request, restored_items, is_complete = context.unpack(
        jsonio.dumps(context.pack(original_request, context.Context(items, input_count=2, new_ids=[])))
    )

    assert restored_request == original_request.model_copy(update={"input": None})
    assert restored_items == items
    assert is_complete

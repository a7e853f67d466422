"""The valid and invalid values of every parameter, from the tables in tests/contract, and the messages of rejections."""

import json
from typing import Any

import pytest

from core.context import context
from core.database import connect
from core.wire.request import CreateResponse
from tests import contract
from tests.contract import ECHOED_UNCHANGED, NOT_ECHOED, AcceptedValue, WrongValue
from tests.http.http_api import DOCUMENT_KEYS, VALID_REQUEST, Api, check_document, check_error

INVALID_CASES = {case_id: (name, invalid_case) for case_id, name, invalid_case in contract.wrong_values()}
VALID_CASES = {case_id: (name, valid_case) for case_id, name, valid_case in contract.accepted_values()}


@pytest.mark.parametrize(("name", "invalid_case"), INVALID_CASES.values(), ids=INVALID_CASES)
def test_an_invalid_value_is_rejected_with_its_location_and_nothing_is_stored(
    api: Api, name: str, invalid_case: WrongValue
) -> None:
    row_counts = api.count_rows()

    check_error(
        api.post_response(**invalid_case.other_fields, **{name: invalid_case.value}),
        400,
        invalid_case.code,
        invalid_case.param or name,
    )

    assert api.count_rows() == row_counts


def has_open_responses_types(body: dict[str, Any]) -> bool:
    """Whether Open Responses has types for the tools, the tool choice, the format and the effort of a document."""
    if body["text"]["format"]["type"] == "json_schema" or body["reasoning"]["effort"] in {"minimal", "max"}:
        return False
    choice = body["tool_choice"]
    choices = [choice, *choice.get("tools", ())] if isinstance(choice, dict) else []
    return {tool["type"] for tool in body["tools"] + choices} <= {"function", "allowed_tools"}


@pytest.mark.parametrize(("name", "valid_case"), VALID_CASES.values(), ids=VALID_CASES)
def test_every_valid_value_is_accepted_and_returned(api: Api, name: str, valid_case: AcceptedValue) -> None:
    answer = api.post_response(**valid_case.other_fields, **{name: valid_case.value})

    response = check_document(answer, "queued", open_responses=has_open_responses_types(answer.get_json()))
    if valid_case.echo is NOT_ECHOED:
        assert name not in response
    elif valid_case.echo is ECHOED_UNCHANGED:
        assert response[name] == valid_case.value
    else:
        assert response[name] == valid_case.echo
    assert api.get_response(response["id"]).get_json() == response


@pytest.mark.parametrize(("name", "valid_case"), VALID_CASES.values(), ids=VALID_CASES)
def test_every_valid_value_is_stored_unchanged_for_the_worker(api: Api, name: str, valid_case: AcceptedValue) -> None:
    changes = {**valid_case.other_fields, name: valid_case.value}
    response = api.create_response(**changes)

    ((request_text,),) = api.sql("select request from responses where id = %s", response["id"])
    with connect(api._database_url) as connection:
        request = context.load_request(connection, response["id"], request_text).request
    assert request == CreateResponse.model_validate(VALID_REQUEST | changes | {"input": None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": "hot"}, "Invalid type for 'temperature': expected a number, but got a string."),
        ({"background": 1}, "Invalid type for 'background': expected a boolean, but got an integer."),
        ({"input": 5}, "Invalid type for 'input': expected a string or an array, but got an integer."),
        ({"input": [None]}, "Invalid type for 'input[0]': expected an object, but got null."),
        ({"tools": {}}, "Invalid type for 'tools': expected an array, but got an object."),
        ({"tool_choice": 5}, "Invalid type for 'tool_choice': expected a string or an object, but got an integer."),
        ({"model": None}, "Missing required parameter: 'model'."),
        ({"model": "nope"}, "The model 'nope' does not exist."),
        ({"temperature": 3}, "Invalid 'temperature': 3 is more than 2.0."),
        ({"top_p": -0.5}, "Invalid 'top_p': -0.5 is less than 0.0."),
        ({"max_output_tokens": 1}, "Invalid 'max_output_tokens': 1 is less than 16."),
        ({"input": []}, "Invalid 'input': it is empty; at least one item is required."),
        (
            {"include": ["reasoning.encrypted_content"] * 21},
            "Invalid 'include': it has too many items; at most 20 are allowed.",
        ),
        ({"metadata": {"a": "v" * 600}}, "Invalid 'metadata.a': it has 600 characters; at most 512 are allowed."),
        (
            {"metadata": dict.fromkeys(map(str, range(20)), "")},
            "Invalid 'metadata': it has 20 pairs; at most 16 are allowed.",
        ),
        (
            {"input": [{"role": "nobody", "content": ""}]},
            "Invalid value for 'input[0].role': \"nobody\"; expected 'user', 'assistant', 'system' or 'developer'.",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            (
                "Invalid value for 'input[0].content[0].type': \"input_audio\"; "
                "expected 'input_text', 'input_image', 'input_file', 'output_text' or 'refusal'."
            ),
        ),
        (
            {"input": [{"type": "x"}]},
            "Invalid value for 'input[0].type': \"x\"; expected a known item type.",
        ),
        ({"tools": [{"type": "function"}]}, "Missing required parameter: 'tools[0].name'."),
        (
            {"tools": [{"type": "function", "name": "a b"}]},
            "Invalid value for 'tools[0].name': it must match ^[A-Za-z0-9_-]+$.",
        ),
        ({"moderation": {}}, "'moderation' is not supported."),
        ({"store": False}, "background can only be used when `store` is true (background=true requires store=true)."),
        (
            {"tool_choice": {"type": "function", "name": "f"}},
            "Tool choice 'f' not found in 'tools' parameter.",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "call_1", "output": ""}]},
            "No tool call found for function call output with call_id call_1.",
        ),
    ],
)
def test_a_rejection_explains_the_error(api: Api, changes: dict[str, Any], message: str) -> None:
    assert api.post_response(**changes).get_json()["error"]["message"] == message


def test_every_parameter_except_the_model_and_the_input_may_be_null(api: Api) -> None:
    names = {parameter.name for parameter in contract.PARAMETERS} - {"model", "input", "background"}

    response = check_document(api.post_response(**dict.fromkeys(names)), "queued")

    defaults = api.create_response()
    assert {name: response[name] for name in DOCUMENT_KEYS - {"id", "created_at"}} == {
        name: defaults[name] for name in DOCUMENT_KEYS - {"id", "created_at"}
    }


def test_an_invalid_value_is_reported_before_a_missing_right(api: Api) -> None:
    check_error(
        api.post_response(service_tier="no-limit", temperature=9), 400, "decimal_above_max_value", "temperature"
    )


@pytest.mark.parametrize("key", ["a", "<text>", "input_text", "$ref"])
def test_an_unknown_field_of_a_part_is_ignored(api: Api, key: str) -> None:
    body = json.dumps(
        VALID_REQUEST | {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a", key: [1]}]}]}
    )

    assert api.post_body(body.encode()).status_code == 200

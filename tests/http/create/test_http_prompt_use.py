"""Requests with a `prompt`: the prompt is resolved once and stored with the response; errors state their location."""

import json
import logging
from typing import Any

import pytest

from core.wire.base import TEXT_LIMIT
from tests.http.http_api import Api, check_document, check_error
from tests.http.prompts import create_prompt, get_prompt, post_prompt

TOOL = {"type": "function", "name": "look_up", "parameters": {}}
FULL_TEMPLATE = {
    "instructions": "Answer as {{ role }}.",
    "input": [
        {"role": "developer", "content": "Be {{mood}}."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello, {{name}} and {{name}}."}]},
        {"role": "assistant", "content": "Hello."},
    ],
    "variables": {"role": {}, "name": {}, "mood": {"default": "kind"}},
    "model": "scripted",
    "tools": [TOOL],
    "tool_choice": "required",
    "temperature": 0.5,
    "top_p": 0.25,
    "max_output_tokens": 99,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_object"}},
}
VARIABLES: dict[str, Any] = {"role": "a bot", "name": "Ada"}


def list_texts(api: Api, response_id: str) -> list[tuple[str, str]]:
    """The role and the text of every part of a response's context, in order."""
    items = api.list_input_items(response_id).get_json()["data"]
    return [(item["role"], part["text"]) for item in items for part in item["content"]]


def create_with_prompt(
    api: Api,
    prompt: dict[str, Any],
    *,
    variables: dict[str, Any] = VARIABLES,
    version: str | int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Create a response with a prompt, by default without input and model; return its document."""
    prompt_fields = {"id": prompt["id"], "variables": variables}
    if version is not None:
        prompt_fields["version"] = version
    request = {"input": None, "model": None, "prompt": prompt_fields} | changes
    return check_document(api.post_response(**request), "queued")


def test_a_prompt_provides_the_instructions_and_the_messages_before_the_input(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, FULL_TEMPLATE)

    response = create_with_prompt(worker_api, prompt, input="How are you?")

    assert response["instructions"] == "Answer as a bot."
    assert list_texts(worker_api, response["id"]) == [
        ("developer", "Be kind."),
        ("user", "Hello, Ada and Ada."),
        ("assistant", "Hello."),
        ("user", "How are you?"),
    ]
    assert response["prompt"] == {"id": prompt["id"], "version": "1", "variables": VARIABLES}
    assert {name: response[name] for name in ("model", "temperature", "top_p", "max_output_tokens", "tool_choice")} == {
        "model": "scripted",
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 99,
        "tool_choice": "required",
    }
    assert [tool["name"] for tool in response["tools"]] == ["look_up"]
    assert response["reasoning"]["effort"] == "low"
    assert response["text"]["format"] == {"type": "json_object"}


def test_a_deeply_nested_template_can_be_used(worker_api: Api) -> None:
    value: Any = "deep"
    for _ in range(220):  # near the limit of about 240 levels
        value = [value]
    prompt = create_prompt(worker_api, {"input": "hi", "tools": [{"type": "mcp", "nested": value}]})

    response = worker_api.create_response(prompt={"id": prompt["id"]})

    assert response["tools"] == [{"type": "mcp", "nested": value}]


def test_a_worker_receives_the_resolved_prompt_and_the_document_contains_it(worker_api: Api) -> None:
    response = create_with_prompt(worker_api, create_prompt(worker_api, FULL_TEMPLATE))

    attempt = worker_api.run_response(response["id"])

    assert attempt.request.instructions == "Answer as a bot."
    assert (attempt.request.temperature, attempt.request.prompt) == (0.5, None)
    assert [item["role"] for item in attempt.context] == ["developer", "user", "assistant"]
    ended_response = check_document(worker_api.get_response(response["id"]), "completed")
    assert (ended_response["prompt"], ended_response["instructions"]) == (response["prompt"], response["instructions"])
    assert ended_response["output"][0]["content"][0]["text"] == "Hello"


def test_parameters_of_the_request_override_those_of_the_prompt(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, FULL_TEMPLATE)
    parameters = {
        "model": "meta/llama-3",
        "instructions": "Be brief.",
        "temperature": 1,
        "max_output_tokens": 16,
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
    }

    response = create_with_prompt(worker_api, prompt, **parameters)

    assert {name: response[name] for name in parameters} == parameters | {
        "text": {"format": {"type": "text"}, "verbosity": "medium"}
    }
    assert response["top_p"] == 0.25
    assert create_with_prompt(worker_api, prompt, temperature=None)["temperature"] == 0.5


def test_a_response_does_not_change_with_its_prompt(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, FULL_TEMPLATE)
    body = {"prompt": {"id": prompt["id"], "variables": VARIABLES}, "input": None, "model": None}
    headers = {"Idempotency-Key": prompt["id"]}
    first_response = worker_api.post_response(**body, headers=headers).get_json()

    post_prompt(worker_api, {"template": {"input": "Other."}, "make_default": True}, f"/{prompt['id']}/versions")
    newest_response = create_with_prompt(worker_api, prompt, variables={}, model="scripted")
    old_response = create_with_prompt(worker_api, prompt, version="1")
    integer_version_response = create_with_prompt(worker_api, prompt, version=1)
    worker_api.send_request("DELETE", f"/v1/prompts/{prompt['id']}")

    assert list_texts(worker_api, newest_response["id"]) == [("user", "Other.")]
    assert (newest_response["prompt"]["version"], newest_response["instructions"]) == ("2", None)
    assert old_response["prompt"]["version"] == integer_version_response["prompt"]["version"] == "1"
    assert worker_api.get_response(first_response["id"]).get_json() == first_response
    assert list_texts(worker_api, old_response["id"]) == list_texts(worker_api, first_response["id"])
    assert worker_api.run_response(first_response["id"]).request.instructions == "Answer as a bot."
    repeated_answer = worker_api.post_response(**body, headers=headers)
    assert check_document(repeated_answer, "completed")["id"] == first_response["id"]
    check_error(worker_api.post_response(**body), 400, "prompt_not_found", "prompt.id")


def test_an_idempotency_key_with_different_variables_is_rejected(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, {"input": "{{x}}", "variables": {"x": {}}})
    headers = {"Idempotency-Key": f"variables {prompt['id']}"}
    worker_api.post_response(prompt={"id": prompt["id"], "variables": {"x": "a"}}, headers=headers)

    repeated_answer = worker_api.post_response(prompt={"id": prompt["id"], "variables": {"x": "b"}}, headers=headers)

    check_error(repeated_answer, 400, "idempotency_key_reuse")


def test_a_request_with_a_foreign_prompt_gets_the_answer_for_an_unknown_prompt(worker_api: Api, other_key: str) -> None:
    prompt = create_prompt(worker_api, {"input": "Hi."})
    row_counts = worker_api.count_rows()

    messages = [
        check_error(
            worker_api.post_response(prompt={"id": prompt_id}, key=other_key), 400, "prompt_not_found", "prompt.id"
        ).replace(prompt_id, "ID")
        for prompt_id in (prompt["id"], "pmpt_" + "0" * 48, "x")
    ]

    assert len(set(messages)) == 1
    foreign_answer = worker_api.post_response(prompt={"id": prompt["id"], "version": "7"}, key=other_key)
    check_error(foreign_answer, 400, "prompt_not_found", "prompt.id")
    assert worker_api.count_rows() == row_counts


@pytest.mark.parametrize(
    ("variables", "code", "name"),
    [
        ({"role": "r"}, "missing_required_parameter", "name"),
        (VARIABLES | {"other": ""}, "unknown_parameter", "other"),
        (VARIABLES | {"__proto__": ""}, "unknown_parameter", "__proto__"),
        (VARIABLES | {"mood": {"type": "refusal", "refusal": "no"}}, "invalid_type", "mood"),
        (VARIABLES | {"mood": {"type": "output_text", "text": "x"}}, "invalid_type", "mood"),
        (VARIABLES | {"mood": None}, "invalid_type", "mood"),
        (VARIABLES | {"mood": ["x"]}, "invalid_type", "mood"),
    ],
)
def test_a_missing_unknown_or_mistyped_variable_is_rejected_by_name(
    worker_api: Api, variables: dict[str, Any], code: str, name: str
) -> None:
    prompt = create_prompt(worker_api, FULL_TEMPLATE)
    row_counts = worker_api.count_rows()

    answer = worker_api.post_response(
        prompt={"id": prompt["id"], "variables": variables}, headers={"Idempotency-Key": "wrong"}
    )

    check_error(answer, 400, code, f"prompt.variables.{name}")
    assert worker_api.count_rows() == row_counts


@pytest.mark.parametrize("variable_type", ["image", "file"])
def test_a_text_for_an_image_or_file_variable_is_rejected(worker_api: Api, variable_type: str) -> None:
    prompt = create_prompt(worker_api, {"input": "{{x}}", "variables": {"x": {"type": variable_type}}})

    for value in ("a text", {"type": "input_text", "text": "a text"}):
        answer = worker_api.post_response(prompt={"id": prompt["id"], "variables": {"x": value}})
        check_error(answer, 400, "invalid_type", "prompt.variables.x")


def test_the_value_of_a_text_variable_may_be_a_text_part(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, {"input": "{{x}}!", "variables": {"x": {}}})
    part = {"type": "input_text", "text": "Hi"}

    response = create_with_prompt(worker_api, prompt, variables={"x": part}, model="scripted")

    assert list_texts(worker_api, response["id"]) == [("user", "Hi!")]
    assert response["prompt"]["variables"] == {"x": part}


@pytest.mark.parametrize("value", ["{{role}} {{name}}", r"\{{", "a\0\u2028\U0001f600", "", '"}],{"', "%s"])
def test_a_value_is_inserted_unchanged(worker_api: Api, value: str) -> None:
    response = create_with_prompt(
        worker_api, create_prompt(worker_api, FULL_TEMPLATE), variables=VARIABLES | {"mood": value}
    )

    assert list_texts(worker_api, response["id"])[0] == ("developer", f"Be {value}.")


def test_values_that_exceed_the_length_limit_are_rejected_before_they_are_inserted(
    worker_api: Api,
) -> None:
    prompt = create_prompt(worker_api, {"input": "{{x}}" * 1_000, "variables": {"x": {}}})
    row_counts = worker_api.count_rows()

    message = check_error(
        worker_api.post_response(prompt={"id": prompt["id"], "variables": {"x": "v" * TEXT_LIMIT}}),
        400,
        "string_above_max_length",
        "prompt.variables",
    )

    assert "10485760000 characters" in message
    assert worker_api.count_rows() == row_counts
    short_response = create_with_prompt(worker_api, prompt, variables={"x": "v" * 1_000}, model="scripted")
    assert len(list_texts(worker_api, short_response["id"])[0][1]) == 1_000_000


def test_a_request_is_rejected_if_neither_it_nor_its_prompt_has_a_model(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, {"input": "Hi."})
    prompt_with_unknown_model = create_prompt(worker_api, {"input": "Hi.", "model": "absent"})
    row_counts = worker_api.count_rows()

    answer = worker_api.post_response(model=None, input=None, prompt={"id": prompt["id"]})
    check_error(answer, 400, "missing_required_parameter", "model")
    check_error(
        worker_api.post_response(model=None, prompt={"id": prompt_with_unknown_model["id"]}),
        400,
        "model_not_found",
        "model",
    )
    assert worker_api.count_rows() == row_counts


def test_an_invalid_request_with_a_prompt_is_rejected_with_the_location(worker_api: Api) -> None:
    prompt = {"prompt": {"id": create_prompt(worker_api, FULL_TEMPLATE)["id"], "variables": VARIABLES}}
    row_counts = worker_api.count_rows()

    check_error(worker_api.post_response(**prompt, tools=[]), 400, "invalid_value", "tool_choice")
    choice = {"type": "function", "name": "other"}
    check_error(worker_api.post_response(**prompt, tool_choice=choice), 400, "invalid_value", "tool_choice")
    reference = [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_nobody"}]
    check_error(worker_api.post_response(**prompt, input=reference), 400, "invalid_value", "input[1].id")
    check_error(worker_api.post_response(**prompt, store=False), 400, "unsupported_parameter", "background")
    assert worker_api.count_rows() == row_counts


def test_a_prompt_follows_the_inherited_context_and_is_not_inherited(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, {"instructions": "As {{x}}.", "input": "{{x}}?", "variables": {"x": {}}})
    first_response = worker_api.create_ended_response(
        "One.", prompt={"id": prompt["id"], "variables": {"x": "a"}}, input=None
    )

    second_response = worker_api.create_response(
        prompt={"id": prompt["id"], "variables": {"x": "b"}}, input="Go on.", previous_response_id=first_response["id"]
    )
    worker_api.run_response(second_response["id"], "Two.")
    third_response = worker_api.create_response(input="And?", previous_response_id=second_response["id"])

    assert list_texts(worker_api, second_response["id"]) == [
        ("user", "a?"),
        ("assistant", "One."),
        ("user", "b?"),
        ("user", "Go on."),
    ]
    assert second_response["instructions"] == "As b."
    assert list_texts(worker_api, third_response["id"])[-3:] == [
        ("user", "Go on."),
        ("assistant", "Two."),
        ("user", "And?"),
    ]
    assert (third_response["instructions"], "prompt" in third_response) == (None, False)


def test_the_messages_of_a_prompt_have_different_ids_in_each_response(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, {"input": [{"role": "user", "content": "Hi."}]})

    first_id, second_id = (
        create_with_prompt(worker_api, prompt, variables={}, model="scripted")["id"] for _ in range(2)
    )

    item_ids = [
        worker_api.list_input_items(response_id).get_json()["data"][0]["id"] for response_id in (first_id, second_id)
    ]
    assert item_ids[0] != item_ids[1]
    referring_response = worker_api.create_response(input=[{"type": "item_reference", "id": item_ids[0]}])
    assert list_texts(worker_api, referring_response["id"]) == [("user", "Hi.")]


def test_values_of_variables_are_not_logged(worker_api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    prompt = create_prompt(worker_api, FULL_TEMPLATE)
    secret = "hunter2hunter2"

    response = create_with_prompt(worker_api, prompt, variables=VARIABLES | {"mood": secret})
    worker_api.run_response(response["id"])
    worker_api.post_response(prompt={"id": prompt["id"], "variables": {"role": secret}})
    worker_api.post_response(prompt={"id": prompt["id"], "variables": {"role": {"type": "refusal", "refusal": secret}}})
    worker_api.post_response(prompt={"id": prompt["id"], "version": "9", "variables": VARIABLES | {"mood": secret}})

    assert secret in json.dumps(worker_api.get_response(response["id"]).get_json())
    assert secret not in caplog.text


def test_a_template_can_be_copied_to_another_prompt(worker_api: Api) -> None:
    prompt = create_prompt(worker_api, FULL_TEMPLATE)
    template = get_prompt(worker_api, f"/{prompt['id']}/versions/1").get_json()["template"]

    copied_prompt = create_prompt(worker_api, template)

    assert get_prompt(worker_api, f"/{copied_prompt['id']}/versions/1").get_json()["template"] == template
    copied_response = create_with_prompt(worker_api, copied_prompt)
    assert {name: copied_response[name] for name in ("instructions", "tools")} == {
        name: create_with_prompt(worker_api, prompt)[name] for name in ("instructions", "tools")
    }

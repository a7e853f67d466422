"""`prompt` of a create: resolved once, stored with the response, and errors that name the wrong place."""

import json
import logging
from typing import Any

import pytest

from core.wire.base import TEXT_LIMIT
from tests.http.http_api import Api, checked, error_of
from tests.http.prompts import get, made, post

TOOL = {"type": "function", "name": "look_up", "parameters": {}}
FULL = {
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
VALUES = {"role": "a bot", "name": "Ada"}


def texts(api: Api, response_id: str) -> list[tuple[str, str]]:
    items = api.items(response_id).get_json()["data"]
    return [(item["role"], part["text"]) for item in items for part in item["content"]]


def use(api: Api, prompt: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Create a response with a prompt, and without input or model unless `changes` has them; return its document."""
    named = {"id": prompt["id"], "variables": changes.pop("variables", VALUES)} | changes.pop("named", {})
    return checked(api.create(**{"input": None, "model": None, "prompt": named} | changes), "queued")


def test_a_prompt_becomes_instructions_and_messages_before_the_input(running: Api) -> None:
    prompt = made(running, FULL)

    created = use(running, prompt, input="How are you?")

    assert created["instructions"] == "Answer as a bot."
    assert texts(running, created["id"]) == [
        ("developer", "Be kind."),
        ("user", "Hello, Ada and Ada."),
        ("assistant", "Hello."),
        ("user", "How are you?"),
    ]
    assert created["prompt"] == {"id": prompt["id"], "version": "1", "variables": VALUES}
    assert {name: created[name] for name in ("model", "temperature", "top_p", "max_output_tokens", "tool_choice")} == {
        "model": "scripted",
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 99,
        "tool_choice": "required",
    }
    assert [tool["name"] for tool in created["tools"]] == ["look_up"]
    assert created["reasoning"]["effort"] == "low"
    assert created["text"]["format"] == {"type": "json_object"}


def test_a_template_that_was_taken_can_be_used_however_deep_it_is(running: Api) -> None:
    value: Any = "deep"
    for _ in range(220):
        value = [value]
    prompt = made(running, {"input": "hi", "tools": [{"type": "mcp", "of_ours": value}]})

    created = running.created(prompt={"id": prompt["id"]})

    assert created["tools"] == [{"type": "mcp", "of_ours": value}]


def test_a_worker_is_given_what_the_prompt_became_and_the_response_says_it_at_every_status(running: Api) -> None:
    created = use(running, made(running, FULL))

    attempt = running.run(created["id"])

    assert attempt.request.instructions == "Answer as a bot."
    assert (attempt.request.temperature, attempt.request.prompt) == (0.5, None)
    assert [item["role"] for item in attempt.context] == ["developer", "user", "assistant"]
    ended = checked(running.get(created["id"]), "completed")
    assert (ended["prompt"], ended["instructions"]) == (created["prompt"], created["instructions"])
    assert ended["output"][0]["content"][0]["text"] == "Hello"


def test_what_the_request_says_itself_goes_before_what_the_prompt_says(running: Api) -> None:
    prompt = made(running, FULL)
    own = {
        "model": "meta/llama-3",
        "instructions": "Be brief.",
        "temperature": 1,
        "max_output_tokens": 16,
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
    }

    created = use(running, prompt, **own)

    assert {name: created[name] for name in own} == own | {"text": {"format": {"type": "text"}, "verbosity": "medium"}}
    assert created["top_p"] == 0.25
    assert use(running, prompt, temperature=None)["temperature"] == 0.5


def test_a_response_keeps_what_it_has_of_a_prompt_that_changes_or_goes(running: Api) -> None:
    prompt = made(running, FULL)
    body = {"prompt": {"id": prompt["id"], "variables": VALUES}, "input": None, "model": None}
    headers = {"Idempotency-Key": prompt["id"]}
    first = running.create(**body, headers=headers).get_json()

    post(running, {"template": {"input": "Other."}, "make_default": True}, f"/{prompt['id']}/versions")
    newest = use(running, prompt, variables={}, model="scripted")
    old = use(running, prompt, named={"version": "1"})
    number = use(running, prompt, named={"version": 1})
    running.ask("DELETE", f"/v1/prompts/{prompt['id']}")

    assert texts(running, newest["id"]) == [("user", "Other.")]
    assert (newest["prompt"]["version"], newest["instructions"]) == ("2", None)
    assert old["prompt"]["version"] == number["prompt"]["version"] == "1"
    assert running.get(first["id"]).get_json() == first
    assert texts(running, old["id"]) == texts(running, first["id"])
    assert running.run(first["id"]).request.instructions == "Answer as a bot."
    again = running.create(**body, headers=headers)
    assert checked(again, "completed")["id"] == first["id"]
    error_of(running.create(**body), 400, "prompt_not_found", "prompt.id")


def test_a_key_that_is_used_for_other_variables_is_refused(running: Api) -> None:
    prompt = made(running, {"input": "{{x}}", "variables": {"x": {}}})
    headers = {"Idempotency-Key": f"variables {prompt['id']}"}
    running.create(prompt={"id": prompt["id"], "variables": {"x": "a"}}, headers=headers)

    again = running.create(prompt={"id": prompt["id"], "variables": {"x": "b"}}, headers=headers)

    error_of(again, 400, "idempotency_key_reuse")


def test_a_prompt_of_another_project_is_as_unknown_to_a_create_as_one_that_never_was(running: Api, other: str) -> None:
    prompt = made(running, {"input": "Hi."})
    before = running.stored()

    says = [
        error_of(running.create(prompt={"id": one}, key=other), 400, "prompt_not_found", "prompt.id").replace(one, "ID")
        for one in (prompt["id"], "pmpt_" + "0" * 48, "x")
    ]

    assert len(set(says)) == 1
    foreign = running.create(prompt={"id": prompt["id"], "version": "7"}, key=other)
    error_of(foreign, 400, "prompt_not_found", "prompt.id")
    assert running.stored() == before


@pytest.mark.parametrize(
    ("variables", "code", "name"),
    [
        ({"role": "r"}, "missing_required_parameter", "name"),
        (VALUES | {"other": ""}, "unknown_parameter", "other"),
        (VALUES | {"__proto__": ""}, "unknown_parameter", "__proto__"),
        (VALUES | {"mood": {"type": "refusal", "refusal": "no"}}, "invalid_type", "mood"),
        (VALUES | {"mood": {"type": "output_text", "text": "x"}}, "invalid_type", "mood"),
        (VALUES | {"mood": None}, "invalid_type", "mood"),
        (VALUES | {"mood": ["x"]}, "invalid_type", "mood"),
    ],
)
def test_a_variable_that_is_missing_unknown_or_of_another_type_is_named(
    running: Api, variables: dict[str, Any], code: str, name: str
) -> None:
    prompt = made(running, FULL)
    before = running.stored()

    answer = running.create(prompt={"id": prompt["id"], "variables": variables}, headers={"Idempotency-Key": "wrong"})

    error_of(answer, 400, code, f"prompt.variables.{name}")
    assert running.stored() == before


@pytest.mark.parametrize("kind", ["image", "file"])
def test_a_text_for_an_image_or_a_file_is_refused(running: Api, kind: str) -> None:
    prompt = made(running, {"input": "{{x}}", "variables": {"x": {"type": kind}}})

    for value in ("a text", {"type": "input_text", "text": "a text"}):
        answer = running.create(prompt={"id": prompt["id"], "variables": {"x": value}})
        error_of(answer, 400, "invalid_type", "prompt.variables.x")


def test_a_text_may_be_given_as_a_part(running: Api) -> None:
    prompt = made(running, {"input": "{{x}}!", "variables": {"x": {}}})
    part = {"type": "input_text", "text": "Hi"}

    created = use(running, prompt, variables={"x": part}, model="scripted")

    assert texts(running, created["id"]) == [("user", "Hi!")]
    assert created["prompt"]["variables"] == {"x": part}


@pytest.mark.parametrize("value", ["{{role}} {{name}}", r"\{{", "a\0\u2028\U0001f600", "", '"}],{"', "%s"])
def test_a_value_is_put_in_as_it_is(running: Api, value: str) -> None:
    created = use(running, made(running, FULL), variables=VALUES | {"mood": value})

    assert texts(running, created["id"])[0] == ("developer", f"Be {value}.")


def test_values_that_would_make_the_prompt_too_long_are_refused_before_anything_is_put_together(running: Api) -> None:
    prompt = made(running, {"input": "{{x}}" * 1_000, "variables": {"x": {}}})
    before = running.stored()

    says = error_of(
        running.create(prompt={"id": prompt["id"], "variables": {"x": "v" * TEXT_LIMIT}}),
        400,
        "string_above_max_length",
        "prompt.variables",
    )

    assert "10485760000 characters" in says
    assert running.stored() == before
    fits = use(running, prompt, variables={"x": "v" * 1_000}, model="scripted")
    assert len(texts(running, fits["id"])[0][1]) == 1_000_000


def test_without_a_model_in_either_the_create_is_refused(running: Api) -> None:
    prompt = made(running, {"input": "Hi."})
    absent = made(running, {"input": "Hi.", "model": "absent"})
    before = running.stored()

    missing = running.create(model=None, input=None, prompt={"id": prompt["id"]})
    error_of(missing, 400, "missing_required_parameter", "model")
    error_of(running.create(model=None, prompt={"id": absent["id"]}), 400, "model_not_found", "model")
    assert running.stored() == before


def test_what_does_not_go_with_the_prompt_is_refused_by_its_place_in_the_request(running: Api) -> None:
    prompt = {"prompt": {"id": made(running, FULL)["id"], "variables": VALUES}}
    before = running.stored()

    error_of(running.create(**prompt, tools=[]), 400, "invalid_value", "tool_choice")
    choice = {"type": "function", "name": "other"}
    error_of(running.create(**prompt, tool_choice=choice), 400, "invalid_value", "tool_choice")
    reference = [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_nobody"}]
    error_of(running.create(**prompt, input=reference), 400, "invalid_value", "input[1].id")
    error_of(running.create(**prompt, store=False), 400, "unsupported_parameter", "background")
    assert running.stored() == before


def test_a_prompt_goes_on_behind_an_earlier_response_and_is_not_inherited(running: Api) -> None:
    prompt = made(running, {"instructions": "As {{x}}.", "input": "{{x}}?", "variables": {"x": {}}})
    first = running.ended("One.", prompt={"id": prompt["id"], "variables": {"x": "a"}}, input=None)

    second = running.created(
        prompt={"id": prompt["id"], "variables": {"x": "b"}}, input="Go on.", previous_response_id=first["id"]
    )
    running.run(second["id"], "Two.")
    third = running.created(input="And?", previous_response_id=second["id"])

    assert texts(running, second["id"]) == [("user", "a?"), ("assistant", "One."), ("user", "b?"), ("user", "Go on.")]
    assert second["instructions"] == "As b."
    assert texts(running, third["id"])[-3:] == [("user", "Go on."), ("assistant", "Two."), ("user", "And?")]
    assert (third["instructions"], "prompt" in third) == (None, False)


def test_messages_of_a_prompt_are_each_responses_own_items(running: Api) -> None:
    prompt = made(running, {"input": [{"role": "user", "content": "Hi."}]})

    first, second = (use(running, prompt, variables={}, model="scripted")["id"] for _ in range(2))

    ids = [running.items(one).get_json()["data"][0]["id"] for one in (first, second)]
    assert ids[0] != ids[1]
    referring = running.created(input=[{"type": "item_reference", "id": ids[0]}])
    assert texts(running, referring["id"]) == [("user", "Hi.")]


def test_what_variables_say_is_in_no_log_line(running: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    prompt = made(running, FULL)
    secret = "hunter2hunter2"

    created = use(running, prompt, variables=VALUES | {"mood": secret})
    running.run(created["id"])
    running.create(prompt={"id": prompt["id"], "variables": {"role": secret}})
    running.create(prompt={"id": prompt["id"], "variables": {"role": {"type": "refusal", "refusal": secret}}})
    running.create(prompt={"id": prompt["id"], "version": "9", "variables": VALUES | {"mood": secret}})

    assert secret in json.dumps(running.get(created["id"]).get_json())
    assert secret not in caplog.text


def test_a_prompt_says_the_same_to_everyone_who_reads_it_back(running: Api) -> None:
    """A template that was read back is accepted unchanged."""
    prompt = made(running, FULL)
    template = get(running, f"/{prompt['id']}/versions/1").get_json()["template"]

    copy = made(running, template)

    assert get(running, f"/{copy['id']}/versions/1").get_json()["template"] == template
    ours = use(running, copy)
    assert {name: ours[name] for name in ("instructions", "tools")} == {
        name: use(running, prompt)[name] for name in ("instructions", "tools")
    }

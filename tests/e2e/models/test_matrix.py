"""The requests to model servers and the responses to clients, for every feature and each API of model servers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import wait_for_end
from tests.matrix.features import FEATURES, Feature
from tests.model_server import ModelServer

APIS = ("chat_completions", "responses")
MODEL_OPTIONS = {"plain": "", "thinks": 'supports = ["reasoning"]', "tags": 'reasoning_format = "think_tags"'}


@pytest.fixture(scope="module")
def stack(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One stack for all features, with each kind of model behind each API."""
    folder = tmp_path_factory.mktemp("matrix")
    config = folder / "backburner.toml"
    config.write_text(
        "".join(
            f'[models.{name}-{api}]\nbase_url = "{_model_server.base_url}"\napi = "{api}"\n{options}\n'
            for name, options in MODEL_OPTIONS.items()
            for api in APIS
        )
    )
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        yield stack.up(SECRET_KEY="k" * 32)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_feature_is_mapped_in_requests_and_responses(stack: Stack, feature: Feature, api: str) -> None:
    tag = f"{feature.name} {api}"
    script = ModelServer.script(tag=tag, **feature.script)
    with stack.client() as client:
        created_response = client.responses.create(
            model=f"{feature.model}-{api}",
            input=[*feature.earlier_items, {"role": "user", "content": script}],
            background=True,
            **feature.request,
        )
        response = wait_for_end(client, created_response.id)

    body = stack.models.stats(tag)["by_tag"][tag][0]["body"]
    expected_body = feature.chat_body if api == "chat_completions" else feature.responses_body
    assert {name: cut_to_length(body.get(name), value) for name, value in expected_body.items()} == dict(expected_body)
    assert not body.keys() & set(feature.absent_fields)
    assert body["model"] == f"{feature.model}-{api}"
    expected = feature.expected[api] if isinstance(feature.expected, dict) else feature.expected
    assert feature.extract(response) == expected


def cut_to_length(value: Any, expected: Any) -> Any:
    """Cut a list to the length of the expected list, because the message with the script follows the expected items."""
    return value[: len(expected)] if isinstance(expected, list) and isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("instructions", [{"role": "system", "content": "Be brief."}]),
        (
            "tool outputs",
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                        {"id": "call_2", "type": "function", "function": {"name": "c", "arguments": '{"input":"go"}'}},
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "1"},
                {"role": "tool", "tool_call_id": "call_2", "content": "2"},
            ],
        ),
        ("reasoning of earlier turns", [{"role": "assistant", "content": "Yes", "reasoning_content": "Hm."}]),
    ],
)
def test_earlier_items_become_messages_of_chat_completions(
    stack: Stack, name: str, messages: list[dict[str, Any]]
) -> None:
    (feature,) = [feature for feature in FEATURES if feature.name == name]
    tag = f"earlier items {name}"
    with stack.client() as client:
        script = ModelServer.script(tag=tag, **feature.script)
        created_response = client.responses.create(
            model=f"{feature.model}-chat_completions",
            input=[*feature.earlier_items, {"role": "user", "content": script}],
            background=True,
            **feature.request,
        )
        assert wait_for_end(client, created_response.id).status == "completed"

    (run,) = stack.models.stats(tag)["by_tag"][tag]
    assert run["body"]["messages"] == [*messages, {"role": "user", "content": script}]


def test_a_responses_server_receives_items_without_our_ids(stack: Stack) -> None:
    tag = "items"
    with stack.client() as client:
        script = ModelServer.script(tag=tag, reasoning="Hm.", text="Yes")
        first_response = client.responses.create(model="thinks-responses", input=script, background=True)
        assert wait_for_end(client, first_response.id).status == "completed"
        second_response = client.responses.create(
            model="thinks-responses", input=script, previous_response_id=first_response.id, background=True
        )
        assert wait_for_end(client, second_response.id).status == "completed"

    _, run = stack.models.stats(tag)["by_tag"][tag]
    user_item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": script}]}
    assert run["body"]["input"] == [
        user_item,
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes", "annotations": []}],
        },
        user_item,
    ]
    assert json.dumps(run["body"]["input"]).count('"id"') == 0


@pytest.mark.parametrize(
    "visible_output", [{"reasoning": "Hm."}, {"summary": ["So."]}, {}], ids=["text", "summary", "hidden"]
)
def test_encrypted_reasoning_returns_to_its_server(stack: Stack, visible_output: dict[str, Any]) -> None:
    tag = f"encrypted {visible_output}"
    script = ModelServer.script(tag=tag, text="Yes", encrypted="opaque", **visible_output)
    request: dict[str, Any] = {"model": "thinks-responses", "include": ["reasoning.encrypted_content"], "store": False}
    user_item = {"role": "user", "content": script}
    with stack.client() as client:
        first_response = client.responses.create(input=[user_item], **request)
        client.responses.create(
            input=[user_item, *(item.model_dump() for item in first_response.output), user_item], **request
        )

    assert [item.type for item in first_response.output] == ["reasoning", "message"]
    assert "opaque" not in first_response.model_dump_json()
    _, run = stack.models.stats(tag)["by_tag"][tag]
    (reasoning,) = [item for item in run["body"]["input"] if item["type"] == "reasoning"]
    assert reasoning["encrypted_content"] == "opaque"

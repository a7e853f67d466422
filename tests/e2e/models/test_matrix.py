"""Every feature through each API of model servers: what the server receives, and what the client's object contains."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import ended
from tests.matrix.features import FEATURES, Feature
from tests.model_server import ModelServer

APIS = ("chat_completions", "responses")
EXTRAS = {"plain": "", "thinks": 'supports = ["reasoning"]', "tags": 'reasoning_format = "think_tags"'}


@pytest.fixture(scope="module")
def stack(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One stack for all features, with each kind of model behind each API."""
    folder = tmp_path_factory.mktemp("matrix")
    config = folder / "backburner.toml"
    config.write_text(
        "".join(
            f'[models.{name}-{api}]\nbase_url = "{_model_server.base_url}"\napi = "{api}"\n{extra}\n'
            for name, extra in EXTRAS.items()
            for api in APIS
        )
    )
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        yield stack.up(SECRET_KEY="k" * 32)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_feature_is_mapped_both_ways(stack: Stack, feature: Feature, api: str) -> None:
    tag = f"{feature.name} {api}"
    script = ModelServer.script(tag=tag, **feature.script)
    with stack.client() as client:
        asked = client.responses.create(
            model=f"{feature.model}-{api}",
            input=[*feature.before, {"role": "user", "content": script}],
            background=True,
            **feature.asks,
        )
        response = ended(client, asked.id)

    body = stack.models.stats(tag)["by_tag"][tag][0]["body"]
    got = feature.chat_gets if api == "chat_completions" else feature.native_gets
    assert {name: held(body.get(name), value) for name, value in got.items()} == dict(got)
    assert not body.keys() & set(feature.lacks)
    assert body["model"] == f"{feature.model}-{api}"
    said = feature.said[api] if isinstance(feature.said, dict) else feature.said
    assert feature.says(response) == said


def held(found: Any, wanted: Any) -> Any:
    """The value that a server received; of a list, only as many items as are expected, because the script follows."""
    return found[: len(wanted)] if isinstance(wanted, list) and isinstance(found, list) else found


@pytest.mark.parametrize(
    ("feature", "sent"),
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
def test_what_came_before_is_shown_as_messages_of_chat_completions(
    stack: Stack, feature: str, sent: list[dict[str, Any]]
) -> None:
    (chosen,) = [one for one in FEATURES if one.name == feature]
    tag = f"before {feature}"
    with stack.client() as client:
        script = ModelServer.script(tag=tag, **chosen.script)
        asked = client.responses.create(
            model=f"{chosen.model}-chat_completions",
            input=[*chosen.before, {"role": "user", "content": script}],
            background=True,
            **chosen.asks,
        )
        assert ended(client, asked.id).status == "completed"

    (seen,) = stack.models.stats(tag)["by_tag"][tag]
    assert seen["body"]["messages"] == [*sent, {"role": "user", "content": script}]


def test_a_server_of_the_responses_api_gets_items_without_ids_of_ours(stack: Stack) -> None:
    tag = "items"
    with stack.client() as client:
        script = ModelServer.script(tag=tag, reasoning="Hm.", text="Yes")
        first = client.responses.create(model="thinks-responses", input=script, background=True)
        assert ended(client, first.id).status == "completed"
        second = client.responses.create(
            model="thinks-responses", input=script, previous_response_id=first.id, background=True
        )
        assert ended(client, second.id).status == "completed"

    (_, seen) = stack.models.stats(tag)["by_tag"][tag]
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": script}]}
    assert seen["body"]["input"] == [
        user,
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes", "annotations": []}],
        },
        user,
    ]
    assert json.dumps(seen["body"]["input"]).count('"id"') == 0


@pytest.mark.parametrize("shown", [{"reasoning": "Hm."}, {"summary": ["So."]}, {}], ids=["words", "summary", "nothing"])
def test_encrypted_reasoning_comes_back_to_the_server_it_is_of(stack: Stack, shown: dict[str, Any]) -> None:
    tag = f"encrypted {shown}"
    script = ModelServer.script(tag=tag, text="Yes", encrypted="theirs", **shown)
    asked: dict[str, Any] = {"model": "thinks-responses", "include": ["reasoning.encrypted_content"], "store": False}
    user = {"role": "user", "content": script}
    with stack.client() as client:
        first = client.responses.create(input=[user], **asked)
        client.responses.create(input=[user, *(item.model_dump() for item in first.output), user], **asked)

    assert [item.type for item in first.output] == ["reasoning", "message"]
    assert "theirs" not in first.model_dump_json()
    _, seen = stack.models.stats(tag)["by_tag"][tag]
    (thought,) = [item for item in seen["body"]["input"] if item["type"] == "reasoning"]
    assert thought["encrypted_content"] == "theirs"

"""After a worker is lost in mid-output, the next one continues, and clients see no difference."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.responses import Response

from tests import invariants
from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

TOKENS = 30
TEXT = "".join(f"tok{number} " for number in range(TOKENS))
DOCUMENT = json.dumps({"town": "Bern", "words": [f"w{number}" for number in range(20)]})
CALL = {"name": "f", "arguments": json.dumps({"text": "x" * 200})}
SCHEMA = {"format": {"type": "json_schema", "name": "town", "schema": {"type": "object"}}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}

# Script and request fields, by name, of responses that lose their worker in mid-output.
LOST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "limited": ({"tokens": TOKENS}, {"max_output_tokens": 20}),
    "json": ({"text": DOCUMENT, "prefix": "repeat"}, {"text": SCHEMA}),
    "calling": ({"text": "Let me look at it now, please.", "tool_calls": [CALL], "delay_s": 0.3}, {"tools": [TOOL]}),
    "refused": ({"tokens": TOKENS, "prefix": "refuse"}, {}),
    "able": ({"tokens": TOKENS}, {"model": "able"}),
    "unable": ({"tokens": TOKENS}, {"model": "unable"}),
    "failing": ({"tokens": TOKENS}, {"model": "failing"}),
    "restarting": ({"tokens": TOKENS}, {"model": "restarting"}),
}
POLICIES = {
    "scripted": 'on_worker_lost = "continue"',
    "able": 'supports = ["continue"]',
    "unable": 'supports = ["tools"]',
    "failing": 'on_worker_lost = "fail"',
    "restarting": 'on_worker_lost = "restart"',
}


@pytest.fixture(scope="module")
def lost(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Response]]:
    """The final responses whose worker was killed after a few tokens."""
    folder = tmp_path_factory.mktemp("lost")
    config = folder / "backburner.toml"
    config.write_text(
        "\n".join(
            f'[models.{name}]\nbase_url = "{_model_server.base_url}"\nupstream_model = "scripted"\n{policy}\n'
            for name, policy in POLICIES.items()
        )
    )
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        invariants.watch_ends(stack)
        stack.up()
        with stack.client() as client:
            ids = {}
            for name, (script, fields) in LOST.items():
                said = _model_server.script(**{"tag": name, "delay_s": 0.1} | script)
                ids[name] = client.responses.create(
                    **{"model": "scripted", "input": said, "background": True} | fields
                ).id
            committed = (
                "select count(*) from (select 1 from response_events group by response_id having sum(tokens) > 4) t"
            )
            until(lambda: stack.sql(committed) == [(len(LOST),)], within_s=20)
            stack.kill("worker")
            stack.start("worker")
            until(stack.all_ended, within_s=30)
            invariants.check(stack, set(ids.values()))
            yield {name: client.responses.retrieve(one) for name, one in ids.items()}


@pytest.fixture
def up(stack: Stack) -> Stack:
    invariants.watch_ends(stack)
    return stack.up()


def test_every_text_goes_on_where_its_worker_was_killed(up: Stack, models: ModelServer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    texts = {number: "".join(f"tok{n} " for n in range(20 + number)) for number in range(40)}
    with up.client() as client:
        accepted = {
            client.responses.create(
                model="scripted",
                input=models.script(tag=f"r{number}", tokens=20 + number, delay_s=0.1),
                background=True,
            ).id: number
            for number in texts
        }
        for _ in range(2):
            sent = chance.randrange(1, 12)
            until(lambda: models.stats()["open"] > 20, within_s=20)
            before = up.sql("select coalesce(sum(tokens), 0) from response_events")[0][0]
            until(
                lambda before=before, sent=sent: (
                    up.sql("select sum(tokens) >= %s from response_events", before + sent * 20) == [(True,)]
                ),
                within_s=20,
            )
            up.kill("worker")
            up.start("worker")
        until(up.all_ended, within_s=60)
        for response_id, number in accepted.items():
            final = client.responses.retrieve(response_id)
            assert final.status == "completed", final.error
            assert final.output_text == texts[number]
            assert final.usage is not None
            assert final.usage.output_tokens == 20 + number

    assert invariants.check(up, set(accepted)) == {"completed": 40}
    until(lambda: models.stats()["open"] == 0, within_s=5)


def test_a_stopped_worker_hands_on_what_it_cannot_finish_in_its_grace_time(up: Stack, models: ModelServer) -> None:
    with up.client() as client:
        accepted = {
            client.responses.create(
                model="scripted", input=models.script(tag=f"d{number}", tokens=150, delay_s=0.06), background=True
            ).id
            for number in range(20)
        }
        until(lambda: models.stats()["open"] == 20)
        until(lambda: up.sql("select count(*) from response_events where tokens > 0")[0][0] > 40)
        up.children["worker"].ask_to_stop()
        up.start("worker-2")
        up.stop("worker")
        until(up.all_ended, within_s=60)
        texts = {client.responses.retrieve(one).output_text for one in accepted}

    assert texts == {"".join(f"tok{number} " for number in range(150))}
    assert invariants.check(up, accepted) == {"completed": 20}
    assert up.sql("select distinct outcome from attempts where attempt = 1") == [("handed_back",)]
    assert up.sql("select max(failures) from responses") == [(0,)]


def test_the_limit_of_output_tokens_counts_what_was_said_before(lost: dict[str, Response]) -> None:
    final = lost["limited"]

    assert final.status == "incomplete"
    assert final.output_text == "".join(f"tok{number} " for number in range(20))
    assert final.usage is not None
    assert final.usage.output_tokens == 20


def test_a_json_text_is_whole_where_the_server_sends_its_beginning_again(lost: dict[str, Response]) -> None:
    final = lost["json"]

    assert final.status == "completed"
    assert final.output_text == DOCUMENT


def test_a_tool_call_is_made_once_when_its_worker_is_killed_while_it_is_written(lost: dict[str, Response]) -> None:
    final = lost["calling"]

    assert final.status == "completed"
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output_text == "Let me look at it now, please."


def test_a_server_that_will_not_go_on_ends_the_response_as_failed_and_says_so(lost: dict[str, Response]) -> None:
    final = lost["refused"]

    assert final.status == "failed"
    assert final.error is not None
    assert "does not continue it" in final.error.message
    assert TEXT.startswith(final.output_text)


def test_a_model_that_is_said_to_continue_does(lost: dict[str, Response]) -> None:
    assert lost["able"].status == "completed"
    assert lost["able"].output_text == TEXT


@pytest.mark.parametrize("model", ["unable", "failing"])
def test_what_is_not_to_be_continued_fails_with_what_was_said(lost: dict[str, Response], model: str) -> None:
    final = lost[model]

    assert final.status == "failed"
    assert final.error is not None
    assert "lost after output had been shown" in final.error.message
    assert TEXT.startswith(final.output_text)
    assert final.output_text
    assert final.output[-1].status == "incomplete"


def test_a_model_may_be_set_to_begin_again_in_an_item_of_its_own(lost: dict[str, Response]) -> None:
    final = lost["restarting"]

    assert final.status == "completed"
    assert [item.status for item in final.output] == ["incomplete", "completed"]
    assert final.output[-1].content[0].text == TEXT

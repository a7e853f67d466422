"""After a worker is lost in the middle of an output, the next worker continues the same output."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response

from tests import invariants
from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.model_server.script import STARTS_OVER_MODEL

TOKEN_COUNT = 30
TEXT = "".join(f"tok{number} " for number in range(TOKEN_COUNT))
DOCUMENT = json.dumps({"town": "Bern", "words": [f"w{number}" for number in range(20)]})
CALL = {"name": "f", "arguments": json.dumps({"text": "x" * 200})}
SCHEMA = {"format": {"type": "json_schema", "name": "town", "schema": {"type": "object"}}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}

# Script and request fields, by name, of responses that lose their worker in the middle of their output.
INTERRUPTED_RESPONSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "token limit": ({"tokens": TOKEN_COUNT}, {"max_output_tokens": 20}),
    "json": ({"text": DOCUMENT, "prefix_behavior": "repeat"}, {"text": SCHEMA}),
    "tool call": ({"text": "Let me look at it now, please.", "tool_calls": [CALL], "delay_s": 0.3}, {"tools": [TOOL]}),
    "refusal": ({"tokens": TOKEN_COUNT, "prefix_behavior": "refuse"}, {}),
    "continuing": ({"tokens": TOKEN_COUNT}, {"model": "continuing"}),
    "not-continuing": ({"tokens": TOKEN_COUNT}, {"model": "not-continuing"}),
    "failing": ({"tokens": TOKEN_COUNT}, {"model": "failing"}),
    "restarting": ({"tokens": TOKEN_COUNT}, {"model": "restarting"}),
}
MODEL_OPTIONS = {
    "scripted": 'on_worker_lost = "continue"',
    "continuing": 'supports = ["continue"]',
    "not-continuing": 'supports = ["tools"]',
    "failing": 'on_worker_lost = "fail"',
    "restarting": 'on_worker_lost = "restart"',
}


@pytest.fixture(scope="module")
def final_responses(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Response]]:
    """The final responses of `INTERRUPTED_RESPONSES`, by name."""
    folder = tmp_path_factory.mktemp("lost")
    config = folder / "backburner.toml"
    config.write_text(
        "\n".join(
            f'[models.{name}]\nbase_url = "{_model_server.base_url}"\nupstream_model = "scripted"\n{options}\n'
            for name, options in MODEL_OPTIONS.items()
        )
    )
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        invariants.watch_ends(stack)
        stack.up()
        with stack.client() as client:
            response_ids = {}
            for name, (script, fields) in INTERRUPTED_RESPONSES.items():
                script_text = _model_server.script(**{"tag": name, "delay_s": 0.1} | script)
                response_ids[name] = client.responses.create(
                    **{"model": "scripted", "input": script_text, "background": True} | fields
                ).id
            query = "select count(*) from (select 1 from response_events group by response_id having sum(tokens) > 4) t"
            until(lambda: stack.sql(query) == [(len(INTERRUPTED_RESPONSES),)], timeout_s=20)
            stack.kill("worker")
            stack.start("worker")
            until(stack.all_ended, timeout_s=30)
            invariants.check_responses(stack, set(response_ids.values()))
            yield {name: client.responses.retrieve(response_id) for name, response_id in response_ids.items()}


def test_a_model_server_that_starts_over_never_shows_a_text_twice(
    postgres_url: str, template: str, models: ModelServer, tmp_path: Path
) -> None:
    config = tmp_path / "backburner.toml"
    config.write_text(
        f'[models.starting-over]\nbase_url = "{models.base_url}"\nupstream_model = "{STARTS_OVER_MODEL}"\n'
        'supports = ["continue"]\n'
    )
    texts = {number: "".join(f"w{n} " for n in range(10 + number)) for number in range(40)}
    with Stack(tmp_path / "home", new_database(postgres_url, template), config, models) as stack:
        invariants.watch_ends(stack)
        stack.up(WORKER_SLOTS=str(len(texts)))
        with stack.client() as client:
            numbers_by_id = {
                client.responses.create(
                    model="starting-over",
                    input=models.script(tag=f"s{number}", text=text, delay_s=0.15),
                    background=True,
                ).id: number
                for number, text in texts.items()
            }
            shown_query = "select count(distinct response_id) from response_events where tokens > 0"
            until(lambda: stack.sql(shown_query)[0][0] > len(texts) / 2, timeout_s=20)
            stack.kill("worker")
            stack.start("worker", WORKER_SLOTS=str(len(texts)))
            until(stack.all_ended, timeout_s=60)
            final_responses = {response_id: client.responses.retrieve(response_id) for response_id in numbers_by_id}
        invariants.check_responses(stack, set(numbers_by_id))
    for response_id, final_response in final_responses.items():
        text = texts[numbers_by_id[response_id]]
        assert text.startswith(final_response.output_text)
        if final_response.status == "completed":
            assert final_response.output_text == text
        else:
            assert final_response.error is not None
            assert "does not continue it: The model server starts a new answer." in final_response.error.message
    statuses = {final_response.status for final_response in final_responses.values()}
    assert "failed" in statuses
    assert statuses <= {"completed", "failed"}


@pytest.fixture
def running_stack(stack: Stack) -> Stack:
    """A running stack that records every end in its database."""
    invariants.watch_ends(stack)
    return stack.up()


def test_every_text_continues_where_its_worker_was_killed(running_stack: Stack, models: ModelServer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    texts = {number: "".join(f"tok{n} " for n in range(20 + number)) for number in range(40)}
    with running_stack.client() as client:
        numbers_by_id = {
            client.responses.create(
                model="scripted",
                input=models.script(tag=f"r{number}", tokens=20 + number, delay_s=0.1),
                background=True,
            ).id: number
            for number in texts
        }
        for _ in range(2):
            tokens_per_run = generator.randrange(1, 12)
            until(lambda: models.stats()["open"] > 20, timeout_s=20)
            ((token_count,),) = running_stack.sql("select coalesce(sum(tokens), 0) from response_events")
            token_goal = token_count + 20 * tokens_per_run
            goal_query = "select sum(tokens) >= %s from response_events"
            until(lambda goal=token_goal: running_stack.sql(goal_query, goal) == [(True,)], timeout_s=20)
            running_stack.kill("worker")
            running_stack.start("worker")
        until(running_stack.all_ended, timeout_s=60)
        for response_id, number in numbers_by_id.items():
            final_response = client.responses.retrieve(response_id)
            assert final_response.status == "completed", final_response.error
            assert final_response.output_text == texts[number]
            assert final_response.usage is not None
            assert final_response.usage.output_tokens == 20 + number

    assert invariants.check_responses(running_stack, set(numbers_by_id)) == {"completed": 40}
    until(lambda: models.stats()["open"] == 0, timeout_s=5)


def test_a_stopped_worker_hands_back_responses_that_outlast_its_grace_time(
    running_stack: Stack, models: ModelServer
) -> None:
    with running_stack.client() as client:
        response_ids = {
            client.responses.create(
                model="scripted", input=models.script(tag=f"d{number}", tokens=150, delay_s=0.06), background=True
            ).id
            for number in range(20)
        }
        until(lambda: models.stats()["open"] == 20)
        until(lambda: running_stack.sql("select count(*) from response_events where tokens > 0")[0][0] > 40)
        running_stack.children["worker"].send_stop_signal()
        running_stack.start("worker-2")
        running_stack.stop("worker")
        until(running_stack.all_ended, timeout_s=60)
        texts = {client.responses.retrieve(response_id).output_text for response_id in response_ids}

    assert texts == {"".join(f"tok{number} " for number in range(150))}
    assert invariants.check_responses(running_stack, response_ids) == {"completed": 20}
    assert running_stack.sql("select distinct outcome from attempts where attempt = 1") == [("handed_back",)]
    assert running_stack.sql("select max(failures) from responses") == [(0,)]


def test_the_output_limit_includes_the_tokens_of_the_lost_attempt(final_responses: dict[str, Response]) -> None:
    final_response = final_responses["token limit"]

    assert final_response.status == "incomplete"
    assert final_response.output_text == "".join(f"tok{number} " for number in range(20))
    assert final_response.usage is not None
    assert final_response.usage.output_tokens == 20


def test_a_json_text_is_valid_if_the_server_repeats_its_beginning(final_responses: dict[str, Response]) -> None:
    final_response = final_responses["json"]

    assert final_response.status == "completed"
    assert final_response.output_text == DOCUMENT


def test_a_tool_call_interrupted_by_a_killed_worker_is_made_once(final_responses: dict[str, Response]) -> None:
    final_response = final_responses["tool call"]

    assert final_response.status == "completed"
    assert [item.type for item in final_response.output] == ["message", "function_call"]
    assert final_response.output_text == "Let me look at it now, please."


def test_a_response_fails_if_its_server_does_not_continue_the_text(final_responses: dict[str, Response]) -> None:
    final_response = final_responses["refusal"]

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert "does not continue it" in final_response.error.message
    assert TEXT.startswith(final_response.output_text)


def test_a_model_configured_to_continue_completes_its_text(final_responses: dict[str, Response]) -> None:
    assert final_responses["continuing"].status == "completed"
    assert final_responses["continuing"].output_text == TEXT


@pytest.mark.parametrize("model", ["not-continuing", "failing"])
def test_a_response_that_must_not_be_continued_fails_with_its_partial_output(
    final_responses: dict[str, Response], model: str
) -> None:
    final_response = final_responses[model]

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert "lost after output had been shown" in final_response.error.message
    assert TEXT.startswith(final_response.output_text)
    assert final_response.output_text
    assert final_response.output[-1].status == "incomplete"


def test_a_model_configured_to_restart_begins_a_new_item(final_responses: dict[str, Response]) -> None:
    final_response = final_responses["restarting"]

    assert final_response.status == "completed"
    assert [item.status for item in final_response.output] == ["incomplete", "completed"]
    assert final_response.output[-1].content[0].text == TEXT

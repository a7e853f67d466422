"""Common uses of the official client on real processes."""

import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    "strict": True,
}


def last_messages(models: ModelServer, tag: str) -> list[dict]:
    """The messages of the last request that the model server received with this tag."""
    return models.stats(tag)["by_tag"][tag][-1]["body"]["messages"]


def test_a_chain_sends_the_entire_conversation_to_the_model_and_forks_are_separate(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        first_response = client.responses.create(model="scripted", input="one", instructions="Be brief.")
        second_response = client.responses.create(model="scripted", input="two", previous_response_id=first_response.id)
        fork_response = client.responses.create(
            model="scripted", input=models.script(tag="fork", tokens=1), previous_response_id=first_response.id
        )
        third_response = client.responses.create(
            model="scripted", input=models.script(tag="third", tokens=1), previous_response_id=second_response.id
        )

    conversation = [(message["role"], message["content"]) for message in last_messages(models, "third")]
    assert conversation[:-1] == [
        ("user", "one"),
        ("assistant", first_response.output_text),
        ("user", "two"),
        ("assistant", second_response.output_text),
    ]
    assert len(last_messages(models, "fork")) == 3
    assert (fork_response.previous_response_id, third_response.previous_response_id) == (
        first_response.id,
        second_response.id,
    )


def test_a_tool_output_follows_its_call_from_the_chain(shared_stack: Stack, models: ModelServer) -> None:
    with shared_stack.client() as client:
        first_response = client.responses.create(
            model="scripted",
            input=models.script(tag="call", tool_calls=[{"name": "weather", "arguments": '{"town": "Bern"}'}]),
            tools=[WEATHER],
            background=True,
        )
        first_response = wait_for_end(client, first_response.id)
        (call,) = first_response.output
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"town": "Bern"}')

        final_response = client.responses.create(
            model="scripted",
            previous_response_id=first_response.id,
            tools=[WEATHER],
            input=[
                {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
                {"role": "user", "content": models.script(tag="output", tokens=2)},
            ],
        )

    assert final_response.output_text == "tok0 tok1 "
    sent_messages = last_messages(models, "output")
    assert sent_messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"town": "Bern"}'}
    assert sent_messages[2] == {"role": "tool", "tool_call_id": call.call_id, "content": "rain"}


def test_concurrent_creates_with_one_idempotency_key_create_one_response(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client, ThreadPoolExecutor(8) as threads:

        def create(number: int) -> str:
            return client.responses.create(
                model="scripted",
                input=models.script(tokens=3),
                background=True,
                extra_headers={"Idempotency-Key": f"key-{number // 8}"},
            ).id

        ((count_before,),) = shared_stack.sql("select count(*) from responses")
        response_ids = list(threads.map(create, range(80)))

        assert len(set(response_ids)) == 10
        assert shared_stack.sql("select count(*) from responses") == [(count_before + 10,)]
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(
                model="scripted", input="another", background=True, extra_headers={"Idempotency-Key": "key-0"}
            )
    assert caught.value.code == "idempotency_key_reuse"


def test_a_long_poll_returns_as_soon_as_the_response_has_ended(shared_stack: Stack, models: ModelServer) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(
            model="scripted", input=models.script(tokens=10, delay_s=0.1), background=True
        )
        polled_at = time.monotonic()
        raw_reply = client.responses.with_raw_response.retrieve(response.id, extra_headers={"Prefer": "wait=30"})

        assert raw_reply.parse().status == "completed"
        assert raw_reply.headers["preference-applied"] == "wait=30"
        query = "select extract(epoch from finished_at - created_at)::float from responses where id = %s"
        ((duration_s,),) = shared_stack.sql(query, response.id)
        assert time.monotonic() - polled_at < duration_s + 0.5


def test_a_long_poll_of_a_running_response_returns_at_the_end_of_the_wait(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        script = models.script(first_delay_s=60)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: models.stats()["open"] == 1)
        polled_at = time.monotonic()
        response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=1"})
        client.responses.cancel(response.id)

    assert response.status == "in_progress"
    assert 1 <= time.monotonic() - polled_at < 3


def test_a_poll_of_an_unchanged_response_returns_304_without_a_body(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(model="scripted", input="hello", background=True)
        wait_for_end(client, response.id)
        raw_reply = client.responses.with_raw_response.retrieve(response.id)
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.retrieve(response.id, extra_headers={"If-None-Match": raw_reply.headers["etag"]})

    assert caught.value.status_code == 304
    assert caught.value.response.content == b""

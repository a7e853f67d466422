"""The largest requests are accepted and run with all of their text, also together with small requests."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

TEXT_CHARACTERS = 10_400_000  # 31 MB, because nearly all of them have three bytes; the limit of a body is 32 MiB


def large_text(seed: int, length: int = TEXT_CHARACTERS) -> str:
    """A text of distinct parts, so that no two of the pieces in which it is stored are equal."""
    return "".join(f"{seed} {number:09} " + "€" * 1000 for number in range(length // 1000 + 1))[:length]


def create_response(client: openai.OpenAI, **fields: Any) -> str:
    """Create a background response; return its ID."""
    return client.responses.create(**{"model": "scripted", "input": "hi", "background": True, **fields}).id


def test_a_body_of_31_mb_is_stored_once_and_runs_with_its_text(shared_stack: Stack, models: ModelServer) -> None:
    text = large_text(0)
    with shared_stack.client(timeout=60) as client:
        script = models.script(tag="31 MB", tokens=3)
        response_id = create_response(client, instructions=text, input=script)
        until(
            lambda: shared_stack.sql("select 1 from responses where id = %s and finished_at is not null", response_id)
        )
        response = client.responses.retrieve(response_id)
        with client.responses.with_streaming_response.retrieve(response_id, stream=True) as stream:
            stream_text = b"".join(stream.iter_bytes()).decode()

    assert response.status == "completed"
    assert response.instructions == text
    assert stream_text.count(text) == 4  # created, queued, in progress, completed
    assert stream_text.endswith("data: [DONE]\n\n")
    (request,) = models.stats("31 MB")["by_tag"]["31 MB"]
    assert request["body"]["messages"][0]["content"] == text
    ((row_and_event_bytes,),) = shared_stack.sql(
        "select octet_length(request) + octet_length(document) + (select sum(octet_length(data)) from response_events"
        " where response_id = id) from responses where id = %s",
        response_id,
    )
    assert row_and_event_bytes < 20_000
    ((content_bytes,),) = shared_stack.sql(
        "select sum(octet_length(data)) from response_contents join contents on id = content_id where response_id = %s",
        response_id,
    )
    assert content_bytes == len(json.dumps(text, ensure_ascii=False).encode())


def test_large_and_small_requests_that_arrive_together_all_complete(shared_stack: Stack, models: ModelServer) -> None:
    with shared_stack.client(timeout=120) as client, ThreadPoolExecutor(8) as threads:
        large_creates = [
            threads.submit(create_response, client, instructions=large_text(seed, 3_000_000)) for seed in range(1, 5)
        ]
        small_creates = [threads.submit(create_response, client) for _ in range(40)]
        response_ids = [future.result() for future in [*large_creates, *small_creates]]

        responses = [wait_for_end(client, response_id, timeout_s=60) for response_id in response_ids]

    assert {response.status for response in responses} == {"completed"}
    assert shared_stack.sql("select count(*) from responses where id = any (%s) and failures > 0", response_ids) == [
        (0,)
    ]


def test_a_large_request_whose_worker_is_killed_runs_again_with_its_text(stack: Stack, models: ModelServer) -> None:
    stack.up()
    text = large_text(0, 300_000)
    with stack.client() as client:
        script = models.script(tag="killed", first_delay_s=30, tokens=1)
        response_id = create_response(client, instructions=text, input=script)
        until(lambda: models.stats("killed")["by_tag"]["killed"])
        stack.kill("worker")
        stack.start("worker")
        until(lambda: len(models.stats("killed")["by_tag"]["killed"]) == 2, timeout_s=20)
        bodies = [request["body"] for request in models.stats("killed")["by_tag"]["killed"]]
        cancelled = client.responses.cancel(response_id)

    assert [body["messages"][0]["content"] for body in bodies] == [text, text]
    assert cancelled.instructions == text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_foreground_request_with_a_large_body_is_answered(
    shared_stack: Stack, models: ModelServer, is_streamed: bool
) -> None:
    text = large_text(0, 300_000)
    with shared_stack.client() as client:
        fields = {"model": "scripted", "input": models.script(tokens=3), "instructions": text, "store": False}
        if is_streamed:
            *_, last_event = client.responses.create(**fields, stream=True)
            response = last_event.response
        else:
            response = client.responses.create(**fields)

    assert response.status == "completed"
    assert response.instructions == text

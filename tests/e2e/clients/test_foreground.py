"""Foreground responses on real processes: the reply to a create request is the ended response."""

import asyncio
import http.client
import json
import threading
import time

import openai
import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer


def test_a_foreground_create_returns_the_ended_response(shared_stack: Stack, models: ModelServer) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(model="scripted", input=models.script(tokens=4))

        assert response.status == "completed"
        assert response.background is False
        assert response.output_text == "tok0 tok1 tok2 tok3 "
        assert client.responses.retrieve(response.id) == response
        with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
            client.responses.cancel(response.id)


def test_a_slow_foreground_reply_is_complete_and_begins_with_whitespace(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        script = models.script(tokens=100, delay_s=0.06)
        raw_reply = client.responses.with_raw_response.create(model="scripted", input=script)

        assert raw_reply.content.startswith(b" ")
        assert raw_reply.parse().output_text.split() == [f"tok{number}" for number in range(100)]


def test_the_async_client_receives_many_foreground_replies_concurrently(
    shared_stack: Stack, models: ModelServer
) -> None:

    async def create_responses() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{shared_stack.port}/v1", api_key=shared_stack.key, max_retries=0
        ) as client:
            requests = [
                client.responses.create(model="scripted", input=models.script(tokens=number + 1, delay_s=0.02))
                for number in range(20)
            ]
            return [response.output_text for response in await asyncio.gather(*requests)]

    assert [len(text.split()) for text in asyncio.run(create_responses())] == list(range(1, 21))


def create_and_disconnect(stack: Stack, script: str, duration_s: float, **extra_headers: str) -> None:
    """Send a foreground create request, and disconnect after `duration_s` seconds, before the reply is complete."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=duration_s)
    body = json.dumps({"model": "scripted", "input": script})
    headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json", **extra_headers}
    connection.request("POST", "/v1/responses", body, headers)
    deadline = time.monotonic() + duration_s
    try:
        reply = connection.getresponse()
        while time.monotonic() < deadline:
            reply.read(1)
    except TimeoutError:
        pass
    connection.close()


def test_a_client_that_disconnects_cancels_its_foreground_response(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    create_and_disconnect(stack, models.script(tag="gone", tokens=2000, delay_s=0.05), duration_s=4)

    (run,) = until(lambda: [run for run in models.stats("gone")["by_tag"]["gone"] if run["ended"]], timeout_s=4)
    assert run["outcome"] == "client_closed"
    assert stack.sql("select status from responses") == [("cancelled",)]
    invariants.check_responses(stack, {row[0] for row in stack.sql("select id from responses")})


def test_a_foreground_response_is_cancelled_when_its_api_process_is_killed(stack: Stack, models: ModelServer) -> None:
    stack.up()
    script = models.script(tag="orphan", tokens=2000, delay_s=0.05)
    client_thread = threading.Thread(target=create_without_reply, args=(stack, script))
    client_thread.start()
    until(lambda: models.stats()["open"] == 1)
    stack.kill("api")
    client_thread.join()

    until(lambda: stack.sql("select status from responses") == [("cancelled",)], timeout_s=10)
    until(lambda: models.stats()["open"] == 0, timeout_s=2)


def create_without_reply(stack: Stack, script: str) -> None:
    """Send a foreground create request that never gets a reply."""
    with stack.client() as client, pytest.raises(openai.APIConnectionError):
        client.responses.create(model="scripted", input=script)


def test_a_foreground_response_is_not_cancelled_while_its_client_waits(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        # Three times `FOLLOW_S`, after which the sweeper cancels a response without a waiting client.
        response = client.responses.create(model="scripted", input=models.script(tokens=10, first_delay_s=9))

    assert response.status == "completed"


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"status": 400, "message": "too long"}, 400, "invalid_prompt"),
        ({"status": 500}, 500, "server_error"),
        ({"tokens": 10, "drop_after_tokens": 3}, 500, "server_error"),
    ],
)
def test_an_early_failure_of_a_foreground_response_returns_an_http_error(
    shared_stack: Stack, models: ModelServer, script: dict, status: int, code: str
) -> None:
    query = "select count(*) from responses"
    ((count_before,),) = shared_stack.sql(query)
    with shared_stack.client(max_retries=2) as client, pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="scripted", input=models.script(tag="bad", **script))

    assert caught.value.status_code == status
    assert caught.value.code == code
    assert shared_stack.sql(query) == [(count_before + 1,)]  # the client did not retry


def test_a_foreground_response_with_store_false_leaves_no_rows(stack: Stack, models: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        for script in (models.script(tokens=3), models.script(tokens=10, delay_s=0.5)):
            response = client.responses.create(model="scripted", input=script, store=False)
            assert response.status == "completed"
            assert response.store is False
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(response.id)
            with pytest.raises(openai.BadRequestError, match="not found"):
                client.responses.create(model="scripted", input="go on", previous_response_id=response.id)
    for table in ("responses", "response_events", "attempts", "items"):
        until(lambda table=table: stack.sql(f"select count(*) from {table}") == [(0,)], timeout_s=3)


def test_a_foreground_reply_arrives_although_redis_is_killed(stack: Stack, models: ModelServer) -> None:
    stack.up()
    texts: list[str] = []

    def create() -> None:
        with stack.client() as client:
            script = models.script(tokens=20, delay_s=0.1)
            texts.append(client.responses.create(model="scripted", input=script).output_text)

    client_thread = threading.Thread(target=create)
    client_thread.start()
    until(lambda: models.stats()["open"] == 1)
    stack.kill("valkey")
    client_thread.join(timeout=15)

    assert len(texts[0].split()) == 20


def test_a_client_that_repeats_its_idempotency_key_gets_the_same_response(stack: Stack, models: ModelServer) -> None:
    stack.up(FOLLOW_S="6")
    script = models.script(tag="again", tokens=80, delay_s=0.1)
    key_header = {"Idempotency-Key": "once"}
    create_and_disconnect(stack, script, duration_s=4, **key_header)
    with stack.client() as client:
        response = client.responses.create(model="scripted", input=script, extra_headers=key_header)

    assert response.status == "completed"
    assert len(response.output_text.split()) == 80
    assert len(models.stats("again")["by_tag"]["again"]) == 1


def test_a_foreground_reply_is_complete_although_postgres_drops_every_connection(
    stack: Stack, models: ModelServer
) -> None:
    stack.up()
    texts: list[str] = []

    def create() -> None:
        with stack.client() as client:
            texts.append(client.responses.create(model="scripted", input=script).output_text)

    script = models.script(tokens=80, delay_s=0.1)
    client_thread = threading.Thread(target=create)
    client_thread.start()
    until(lambda: models.stats()["open"] == 1)
    for _ in range(4):
        stack.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        tokens = count_sent_tokens(models)
        until(lambda tokens=tokens: count_sent_tokens(models) >= tokens + 15, timeout_s=5)
    client_thread.join(timeout=20)

    assert len(texts[0].split()) == 80


def count_sent_tokens(models: ModelServer) -> int:
    """The number of tokens that the model server has sent for its only request."""
    _, runs = models.stats()["by_tag"].popitem()
    return int(runs[0]["tokens_sent"])

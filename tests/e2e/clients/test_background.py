"""Background responses on real processes, created with the official client, up to each terminal status."""

import time

import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


def test_a_background_response_is_queued_then_completes_with_the_models_text(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(
            model="scripted",
            input=models.script(tag="one", tokens=5),
            instructions="Count.",
            background=True,
            metadata={"team": "a"},
        )
        assert response.status == "queued"
        assert response.output == []
        assert response.background is True

        final_response = wait_for_end(client, response.id)

    assert final_response.status == "completed"
    assert final_response.output_text == "tok0 tok1 tok2 tok3 tok4 "
    assert final_response.usage is not None
    assert final_response.usage.output_tokens == 5
    assert final_response.metadata == {"team": "a"}
    assert final_response.completed_at is not None
    (run,) = models.stats("one")["by_tag"]["one"]
    assert run["body"]["messages"][0] == {"role": "system", "content": "Count."}


def test_a_response_that_reaches_max_output_tokens_is_incomplete_with_that_reason(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(
            model="scripted", input=models.script(tokens=100), background=True, max_output_tokens=16
        )
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "incomplete"
    assert final_response.incomplete_details is not None
    assert final_response.incomplete_details.reason == "max_output_tokens"
    assert len(final_response.output_text.split()) == 16
    assert final_response.output[0].status == "incomplete"
    assert final_response.completed_at is None


@pytest.mark.parametrize(
    ("script", "code", "cause"),
    [
        ({"status": 500}, "server_error", "500"),
        ({"status": 400, "message": "too long"}, "invalid_prompt", "too long"),
        ({"status": 401}, "server_error", "401"),
        ({"tokens": 10, "drop_after_tokens": 4}, "server_error", "connection"),
        ({"tokens": 10, "drop_after_tokens": 0}, "server_error", "connection"),
        ({"tokens": 10, "garbage_after_tokens": 2}, "server_error", "not JSON"),
        ({"tokens": 10, "hang_after_tokens": 3}, "server_error", "silent"),
    ],
)
def test_a_model_servers_failure_ends_the_response_with_its_cause(
    shared_stack: Stack, models: ModelServer, script: dict, code: str, cause: str
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(model="scripted", input=models.script(**script), background=True)
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert final_response.error.code == code
    assert cause in final_response.error.message
    until(lambda: models.stats()["open"] == 0, timeout_s=2)


def test_a_cancel_is_final_and_closes_the_connection_to_the_model_server(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(
            model="scripted", input=models.script(tag="long", tokens=5000, delay_s=0.02), background=True
        )
        until(lambda: client.responses.retrieve(response.id).output_text)

        cancelled_at = time.monotonic()
        cancelled_response = client.responses.cancel(response.id)
        (run,) = until(lambda: [run for run in models.stats("long")["by_tag"]["long"] if run["ended"]], timeout_s=2)

        assert cancelled_response.status == "cancelled"
        assert cancelled_response.output[0].status == "incomplete"
        assert cancelled_response.output_text.startswith("tok0 ")
        assert run["outcome"] == "client_closed"
        assert run["ended"] - cancelled_at < 0.25
        assert client.responses.cancel(response.id) == cancelled_response
        assert client.responses.retrieve(response.id) == cancelled_response
    query = "select output_tokens from attempts where response_id = %s and output_tokens is not null"
    assert until(lambda: shared_stack.sql(query, response.id))


def test_a_response_cancelled_while_it_waits_never_reaches_the_model_server(stack: Stack, models: ModelServer) -> None:
    stack.up("valkey", "api")
    with stack.client() as client:
        response = client.responses.create(model="scripted", input=models.script(tag="never"), background=True)
        cancelled_response = client.responses.cancel(response.id)
        assert cancelled_response.status == "cancelled"
        assert cancelled_response.output == []

        stack.up("worker", "sweeper")
        other_response = client.responses.create(model="scripted", input=models.script(tag="other"), background=True)
        assert wait_for_end(client, other_response.id).status == "completed"
    assert models.stats("never")["by_tag"].get("never", []) == []


def test_a_response_waits_for_an_unavailable_model_server_and_then_completes(stack: Stack, models: ModelServer) -> None:
    stack.up()
    models.kill()
    try:
        with stack.client() as client:
            response = client.responses.create(model="scripted", input="hello", background=True)
            until(lambda: stack.sql("select 1 from attempts where outcome = 'waited'"), timeout_s=10)
            assert client.responses.retrieve(response.id).status in {"queued", "in_progress"}
            models.restart()

            final_response = wait_for_end(client, response.id)
    finally:
        models.restart()

    assert final_response.status == "completed"
    assert stack.sql("select failures from responses") == [(0,)]


def test_a_response_without_a_reachable_model_server_fails_at_its_deadline(stack: Stack) -> None:
    stack.up(QUEUE_TIMEOUT_S="3")
    with stack.client() as client:
        response = client.responses.create(model="absent", input="hello", background=True)
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert final_response.error.code == "server_error"
    assert "cannot be reached" in final_response.error.message


def test_a_request_to_a_busy_model_server_is_retried_after_its_retry_after(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        script = models.script(tag="busy", status=429, retry_after=0.5, fail_times=2, tokens=3)
        response = client.responses.create(model="scripted", input=script, background=True)
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "completed"
    assert final_response.output_text == "tok0 tok1 tok2 "
    runs = models.stats("busy")["by_tag"]["busy"]
    assert len(runs) == 3
    assert runs[1]["started"] - runs[0]["started"] >= 0.5


def test_a_slowly_failing_model_server_is_tried_three_times_in_one_run(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        script = models.script(tag="slow", status=500, first_delay_s=1.5)
        response = client.responses.create(model="scripted", input=script, background=True)
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "failed"
    assert len(models.stats("slow")["by_tag"]["slow"]) == 3
    assert shared_stack.sql("select outcome from attempts where response_id = %s", response.id) == [("failed",)]

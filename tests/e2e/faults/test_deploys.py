"""A deploy does not cancel responses: stopping processes finish, hand back or release their work."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


def test_a_stopping_api_finishes_its_requests_and_refuses_new_connections(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    api = stack.up(DRAIN_S="20").children["api"]
    with stack.client(timeout=30) as client, ThreadPoolExecutor(3) as threads:
        requests = [
            threads.submit(client.responses.create, model="scripted", input=models.script(tokens=tokens, delay_s=0.1))
            for tokens in (20, 50, 60)
        ]
        until(lambda: models.stats()["open"] == 3)
        api.send_stop_signal()

        until(lambda: refuses_connections(stack), timeout_s=3)
        assert api.ended() is None
        assert {len(request.result().output_text.split()) for request in requests} == {20, 50, 60}
    until(api.ended, timeout_s=5)
    assert api.ended() == "status 0"
    invariants.check_responses(stack, {row[0] for row in stack.sql("select id from responses")})


def refuses_connections(stack: Stack) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=2)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_a_response_that_outlasts_its_stopped_api_completes_and_can_be_fetched(
    stack: Stack, models: ModelServer
) -> None:
    invariants.watch_ends(stack)
    api = stack.up(DRAIN_S="1", FOLLOW_S="3").children["api"]
    body = json.dumps({"model": "scripted", "input": models.script(tag="long", tokens=200, delay_s=0.05)})
    headers = {
        "Authorization": f"Bearer {stack.key}",
        "Content-Type": "application/json",
        "Idempotency-Key": "once",
    }
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    connection.request("POST", "/v1/responses", body, headers)
    until(lambda: models.stats()["open"] == 1)
    stopped_at = time.monotonic()
    api.send_stop_signal()
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse().read()
    connection.close()
    until(api.ended, timeout_s=5)
    assert time.monotonic() - stopped_at < 5
    assert api.ended() == "status 0"

    stack.children.pop("api")
    stack.start("api")
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request("POST", "/v1/responses", body, headers)
    response = json.loads(connection.getresponse().read())
    connection.close()

    assert response["status"] == "completed"
    assert len(response["output"][0]["content"][0]["text"].split()) == 200
    assert len(models.stats("long")["by_tag"]["long"]) == 1
    invariants.check_responses(stack, {response["id"]})


def test_a_response_completes_after_a_deploy_even_if_its_client_does_not_return(
    stack: Stack, models: ModelServer
) -> None:
    api = stack.up(DRAIN_S="1", FOLLOW_S="3").children["api"]
    with stack.client() as client, ThreadPoolExecutor(1) as threads:
        script = models.script(tokens=200, delay_s=0.05)
        request = threads.submit(client.responses.create, model="scripted", input=script)
        until(lambda: models.stats()["open"] == 1)
        api.send_stop_signal()
        with pytest.raises(openai.APIConnectionError):
            request.result()
    # The response outlasts `FOLLOW_S`, after which the sweeper cancels a response without a waiting client.
    until(stack.all_ended, timeout_s=20)

    assert stack.sql("select status from responses") == [("completed",)]


def test_a_stopped_sweeper_exits_immediately(stack: Stack) -> None:
    stack.up("valkey")
    sweeper = stack.start("sweeper")
    until(lambda: "msg=sweeping" in stack.log("sweeper"))
    stopped_at = time.monotonic()
    stack.stop("sweeper")

    assert time.monotonic() - stopped_at < 3
    assert sweeper.ended() == "status 0"
    assert "msg=stopped" in stack.log("sweeper")


def test_several_sweepers_and_workers_end_each_response_once(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    deadlocks_query = "select deadlocks from pg_stat_database where datname = current_database()"
    deadlocks_before = stack.sql(deadlocks_query)
    stack.up("valkey", "api", "sweeper", "sweeper-2", "sweeper-3")
    for name in ("worker", "worker-2", "worker-3"):
        stack.start(name, WORKER_SLOTS="10")
    with stack.client(max_retries=3) as client, ThreadPoolExecutor(8) as threads:
        scripts = [models.script(tag=f"r{number}", tokens=10, delay_s=0.02 * (number % 4)) for number in range(120)]
        response_ids = {
            response.id
            for response in threads.map(
                lambda script: client.responses.create(model="scripted", input=script, background=True), scripts
            )
        }
        cancelled_ids = {client.responses.cancel(response_id).id for response_id in sorted(response_ids)[::10]}
        stack.kill("worker-3")
        stack.kill("sweeper-2")
        stack.stop("worker-2")
        until(stack.all_ended, timeout_s=60)

        assert all(
            wait_for_end(client, response_id).status in {"cancelled", "completed"} for response_id in cancelled_ids
        )
    invariants.check_responses(stack, response_ids)
    assert stack.sql(deadlocks_query) == deadlocks_before
    for name in ("sweeper", "sweeper-3"):
        assert "Traceback" not in stack.log(name)

"""A deploy is not a cancel: processes that are told to stop finish, hand back or release their work."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer


def test_an_api_that_is_stopped_answers_what_is_under_way_and_takes_nothing_more(
    stack: Stack, models: ModelServer
) -> None:
    invariants.watch_ends(stack)
    api = stack.up(DRAIN_S="20").children["api"]
    with stack.client(timeout=30) as client, ThreadPoolExecutor(3) as threads:
        answers = [
            threads.submit(client.responses.create, model="scripted", input=models.script(tokens=tokens, delay_s=0.1))
            for tokens in (20, 50, 60)
        ]
        until(lambda: models.stats()["open"] == 3)
        api.ask_to_stop()

        until(lambda: refuses(stack), within_s=3)
        assert api.ended() is None
        assert {len(answer.result().output_text.split()) for answer in answers} == {20, 50, 60}
    until(api.ended, within_s=5)
    assert api.ended() == "status 0"
    invariants.check(stack, {row[0] for row in stack.sql("select id from responses")})


def refuses(stack: Stack) -> bool:
    """Whether the API refuses new connections."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=2)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_an_answer_an_api_cannot_wait_for_any_longer_is_neither_cancelled_nor_lost(
    stack: Stack, models: ModelServer
) -> None:
    invariants.watch_ends(stack)
    api = stack.up(DRAIN_S="1", FOLLOW_S="3").children["api"]
    body = json.dumps({"model": "scripted", "input": models.script(tag="long", tokens=200, delay_s=0.05)})
    headers = {
        "Authorization": f"Bearer {stack.key}",
        "Content-Type": "application/json",
        "Idempotency-Key": "the-same-again",
    }
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    connection.request("POST", "/v1/responses", body, headers)
    until(lambda: models.stats()["open"] == 1)
    since = time.monotonic()
    api.ask_to_stop()
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse().read()
    connection.close()
    until(api.ended, within_s=5)
    assert time.monotonic() - since < 5
    assert api.ended() == "status 0"

    stack.children.pop("api")
    stack.start("api")
    again = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    again.request("POST", "/v1/responses", body, headers)
    answer = json.loads(again.getresponse().read())
    again.close()

    assert answer["status"] == "completed"
    assert len(answer["output"][0]["content"][0]["text"].split()) == 200
    assert len(models.stats("long")["by_tag"]["long"]) == 1
    invariants.check(stack, {answer["id"]})


def test_a_response_nobody_comes_back_for_after_a_deploy_still_completes(stack: Stack, models: ModelServer) -> None:
    api = stack.up(DRAIN_S="1", FOLLOW_S="3").children["api"]
    with stack.client() as client, ThreadPoolExecutor(1) as threads:
        script = models.script(tokens=200, delay_s=0.05)
        asking = threads.submit(client.responses.create, model="scripted", input=script)
        until(lambda: models.stats()["open"] == 1)
        api.ask_to_stop()
        with pytest.raises(openai.APIConnectionError):
            asking.result()
    # Longer than a response is kept that still counts as followed.
    until(stack.all_ended, within_s=20)

    assert stack.sql("select status from responses") == [("completed",)]


def test_a_sweeper_that_is_stopped_leaves_at_once(stack: Stack) -> None:
    stack.up("valkey")
    sweeper = stack.start("sweeper")
    until(lambda: "msg=sweeping" in stack.log("sweeper"))
    since = time.monotonic()
    stack.stop("sweeper")

    assert time.monotonic() - since < 3
    assert sweeper.ended() == "status 0"
    assert "msg=stopped" in stack.log("sweeper")


def test_several_sweepers_and_workers_end_each_of_many_responses_once(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    before = stack.sql("select deadlocks from pg_stat_database where datname = current_database()")
    stack.up("valkey", "api", "sweeper", "sweeper-2", "sweeper-3")
    for name in ("worker", "worker-2", "worker-3"):
        stack.start(name, WORKER_SLOTS="10")
    with stack.client(max_retries=3) as client, ThreadPoolExecutor(8) as threads:
        scripts = [models.script(tag=f"r{number}", tokens=10, delay_s=0.02 * (number % 4)) for number in range(120)]
        accepted = {
            one.id
            for one in threads.map(
                lambda script: client.responses.create(model="scripted", input=script, background=True), scripts
            )
        }
        cancelled = {client.responses.cancel(one).id for one in sorted(accepted)[::10]}
        stack.kill("worker-3")
        stack.kill("sweeper-2")
        stack.stop("worker-2")
        until(stack.all_ended, within_s=60)

        assert all(ended(client, one).status in {"cancelled", "completed"} for one in cancelled)
    invariants.check(stack, accepted)
    assert stack.sql("select deadlocks from pg_stat_database where datname = current_database()") == before
    for name in ("sweeper", "sweeper-3"):
        assert "Traceback" not in stack.log(name)

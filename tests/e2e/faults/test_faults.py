"""Every accepted response ends once even if processes are killed, frozen or unavailable."""

import json
import os
import signal
import time
import urllib.error
import urllib.request

import openai
import psycopg
import pytest

from tests import invariants
from tests.e2e.faults.killing import kill_worker_valkey_and_sweeper
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


def test_every_response_ends_once_when_worker_valkey_and_sweeper_are_killed(stack: Stack, models: ModelServer) -> None:
    kill_worker_valkey_and_sweeper(stack, models, running_count=15, waiting_count=15)


def test_a_response_without_output_is_run_again_when_its_worker_is_killed(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client:
        script = models.script(tag="slow", first_delay_s=2, tokens=3)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: models.stats()["open"] == 1)
        stack.kill("worker")
        stack.start("worker")
        final_response = wait_for_end(client, response.id, timeout_s=20)

    assert final_response.status == "completed"
    assert final_response.output_text == "tok0 tok1 tok2 "
    assert stack.sql("select attempt, outcome from attempts order by attempt") == [(1, "lost"), (2, "completed")]
    invariants.check_responses(stack, {response.id})


def test_a_response_that_kills_its_workers_fails_after_three_attempts(stack: Stack, models: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        script = models.script(tag="poison", first_delay_s=30)
        response = client.responses.create(model="scripted", input=script, background=True)
        for attempt in range(1, 4):
            until(lambda attempt=attempt: stack.sql("select attempt from responses") == [(attempt,)], timeout_s=30)
            stack.kill("worker")
            stack.start("worker")
        final_response = wait_for_end(client, response.id, timeout_s=20)

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert "lost 3 times" in final_response.error.message


def test_a_frozen_worker_that_wakes_after_its_lease_writes_nothing(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client:
        script = models.script(tag="frozen", tokens=200, delay_s=0.05)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: client.responses.retrieve(response.id).output_text)
        os.kill(stack.children["worker"].pid, signal.SIGSTOP)
        stack.start("worker-2")
        final_response = wait_for_end(client, response.id, timeout_s=40)
        os.kill(stack.children["worker"].pid, signal.SIGCONT)

        until(lambda: models.stats()["open"] == 0, timeout_s=5)
        assert client.responses.retrieve(response.id) == final_response
        later_response = client.responses.create(model="scripted", input="hello", background=True)
        assert wait_for_end(client, later_response.id).status == "completed"

    assert final_response.status == "completed"
    assert final_response.output_text == "".join(f"tok{number} " for number in range(200))
    invariants.check_responses(stack, {response.id, later_response.id})


def test_a_stopped_worker_hands_back_a_response_without_output(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client:
        script = models.script(tag="early", first_delay_s=12, tokens=3)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: models.stats()["open"] == 1)
        stack.start("worker-2")
        stack.stop("worker")
        final_response = wait_for_end(client, response.id, timeout_s=20)

    assert final_response.status == "completed"
    assert stack.sql("select outcome from attempts order by attempt") == [("handed_back",), ("completed",)]
    assert stack.sql("select failures from responses") == [(0,)]
    invariants.check_responses(stack, {response.id})


def test_a_stopped_worker_finishes_a_response_that_ends_within_the_grace_time(
    stack: Stack, models: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:
        script = models.script(tokens=20, delay_s=0.05)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: client.responses.retrieve(response.id).output_text)
        stack.stop("worker")

        assert client.responses.retrieve(response.id).status == "completed"
    assert stack.sql("select count(*) from workers") == [(0,)]


def test_a_response_created_while_redis_is_down_runs_after_redis_returns(stack: Stack) -> None:
    stack.up()
    stack.kill("valkey")
    with stack.client() as client:
        response = client.responses.create(model="scripted", input="hello", background=True)
        assert response.status == "queued"
        assert client.responses.retrieve(response.id).status == "queued"
        stack.start("valkey")

        assert wait_for_end(client, response.id, timeout_s=20).status == "completed"


def test_cancel_works_while_redis_is_down(stack: Stack, models: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        script = models.script(tag="offline", tokens=1000, delay_s=0.05)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: client.responses.retrieve(response.id).output_text)
        stack.kill("valkey")

        assert client.responses.cancel(response.id).status == "cancelled"
        until(lambda: models.stats()["open"] == 0, timeout_s=2)


def test_without_postgres_every_call_returns_503_with_retry_after_and_stores_nothing(
    stack: Stack, postgres_url: str
) -> None:
    stack.up("valkey", "api")
    database_name = stack.database_url.split("?")[0].rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"alter database {database_name} allow_connections false")  # type: ignore[arg-type]
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (database_name,)
        )
        with stack.client() as client:
            for call in (
                lambda: client.responses.create(model="scripted", input="hello", background=True),
                lambda: client.responses.retrieve(f"resp_{'0' * 48}"),
                lambda: client.responses.cancel(f"resp_{'0' * 48}"),
            ):
                with pytest.raises(openai.InternalServerError) as caught:
                    call()
                assert caught.value.status_code == 503
                assert int(caught.value.response.headers["retry-after"]) >= 1
                assert caught.value.code == "store_unavailable"
        connection.execute(f"alter database {database_name} allow_connections true")  # type: ignore[arg-type]
        with stack.client() as client:
            response_id = until(lambda: try_create(client), timeout_s=10)
    assert stack.sql("select id from responses") == [(response_id,)]


def try_create(client: openai.OpenAI) -> str | None:
    """Create a response; return its ID, or None if the API is unavailable."""
    try:
        return client.responses.create(model="scripted", input="hello", background=True).id
    except openai.InternalServerError:
        return None


def test_flower_shows_a_response_under_its_id_and_rejects_revocations(stack: Stack) -> None:
    stack.up()
    stack.start("flower")
    with stack.client() as client:
        response = client.responses.create(model="scripted", input="hello", background=True)
        wait_for_end(client, response.id)
    page_url = f"http://127.0.0.1:{stack.flower_port}/task/{response.id}"

    def successful_task_page() -> str | None:
        try:
            with urllib.request.urlopen(page_url, timeout=5) as reply:
                html = reply.read().decode()
        except urllib.error.HTTPError:
            return None
        return html if "SUCCESS" in html else None

    assert response.id in until(successful_task_page)
    revocation = urllib.request.Request(
        f"http://127.0.0.1:{stack.flower_port}/api/task/revoke/{response.id}", method="POST", data=b""
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(revocation, timeout=5)
    assert caught.value.code in {401, 403, 405}
    caught.value.close()


def test_a_doorbell_lost_with_all_data_of_redis_is_sent_again(stack: Stack, models: ModelServer) -> None:
    stack.up("valkey", "api")
    with stack.client() as client:
        # A worker that does not exist, so that the response is dispatched at its create.
        stack.sql(
            "insert into workers (id, hostname, pid, lanes, slots, seen_at)"
            " values ('ghost', 'h', 0, '{default}', 5, now() + interval '5 s')"
        )
        response = client.responses.create(model="scripted", input="hello", background=True)
        assert stack.sql("select dispatched_at is not null from responses") == [(True,)]
        stack.kill("valkey")
        stack.up("valkey", "worker", "sweeper")

        started_at = time.monotonic()
        assert wait_for_end(client, response.id, timeout_s=20).status == "completed"
        assert time.monotonic() - started_at < 10


def test_logs_contain_the_response_and_the_attempt_but_not_the_input(stack: Stack) -> None:
    stack.up()
    with stack.client() as client:
        response = client.responses.create(model="scripted", input="hello", background=True)
        wait_for_end(client, response.id)
    until(lambda: f"msg=ended response={response.id} attempt=1 status=completed" in stack.log("worker"))
    assert json.dumps("hello") not in stack.log("worker")


def test_runs_continue_with_complete_logs_when_postgres_repeatedly_drops_every_connection(
    stack: Stack, models: ModelServer
) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client(max_retries=5) as client:
        response_ids = {
            client.responses.create(
                model="scripted", input=models.script(tag=f"p{number}", tokens=100, delay_s=0.04), background=True
            ).id
            for number in range(10)
        }
        until(lambda: models.stats()["open"] == 10)
        drop_count = 0
        while models.stats()["open"] == 10:
            stack.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            drop_count += 1
            tokens = models.stats()["by_tag"]["p0"][0]["tokens_sent"]
            until(lambda tokens=tokens: has_progressed(models, tokens), timeout_s=5)
        until(stack.all_ended, timeout_s=30)

        assert drop_count >= 5
        assert {client.responses.retrieve(response_id).output_text for response_id in response_ids} == {
            "".join(f"tok{number} " for number in range(100))
        }
    assert invariants.check_responses(stack, response_ids) == {"completed": 10}


def has_progressed(models: ModelServer, tokens: int) -> bool:
    """Whether the model server has sent at least eight more tokens than `tokens`, or has ended the run."""
    run = models.stats("p0")["by_tag"]["p0"][0]
    return run["ended"] is not None or run["tokens_sent"] >= tokens + 8

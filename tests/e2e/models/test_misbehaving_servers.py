"""Postgres, Redis and model servers that misbehave while their processes keep running."""

import os
import signal
import time

import openai
import psycopg
import pytest
import redis

from core.dispatch.celery_app import celery_app
from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


def start_runs(stack: Stack, client: openai.OpenAI, count: int, **script: object) -> set[str]:
    """Create `count` responses, and wait until all are running; return their IDs."""
    script_text = stack.models.script(**({"tokens": 60, "delay_s": 0.1} | script))
    response_ids = {
        client.responses.create(model="scripted", input=script_text, background=True).id for _ in range(count)
    }
    until(lambda: stack.models.open_request_count == count)
    return response_ids


def test_runs_continue_through_a_redis_failover(stack: Stack) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client, redis.Redis.from_url(stack.valkey.url) as valkey:
        response_ids = start_runs(stack, client, 5)
        valkey.replicaof("127.0.0.1", "9")
        until(lambda: "Connection to broker lost" in stack.log("worker"), timeout_s=5)
        valkey.replicaof("NO", "ONE")
        until(stack.all_ended, timeout_s=30)

        assert stack.children["worker"].ended() is None
        later_response = client.responses.create(model="scripted", input="hello", background=True)
        assert wait_for_end(client, later_response.id).status == "completed"
    assert invariants.check_responses(stack, response_ids | {later_response.id}) == {"completed": 6}


def test_every_process_survives_a_read_only_postgres_and_continues_afterwards(stack: Stack) -> None:
    stack.up()
    with stack.client() as client, psycopg.connect(stack.database_url, autocommit=True) as admin:
        start_runs(stack, client, 3, tokens=30)
        set_read_only(admin, "on")
        with pytest.raises(openai.InternalServerError) as caught:
            client.responses.create(model="scripted", input="hello", background=True)
        assert caught.value.status_code == 503
        until(lambda: "cannot write events" in stack.log("worker"))
        until(lambda: "cannot sweep" in stack.log("sweeper"))
        set_read_only(admin, "off")
        until(stack.all_ended, timeout_s=30)

        assert [child.ended() for child in stack.children.values()] == [None] * 4
        response_id = until(lambda: try_create(client))
        assert wait_for_end(client, response_id).status == "completed"


def set_read_only(admin: psycopg.Connection, state: str) -> None:
    """Switch Postgres to read-only or back, for every session except this one."""
    admin.execute("set default_transaction_read_only = off")
    name = admin.info.dbname
    admin.execute(f"alter database {name} set default_transaction_read_only = {state}")  # type: ignore[arg-type]
    admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )


def try_create(client: openai.OpenAI) -> str | None:
    """Create a response; return its ID, or None if the API is unavailable."""
    try:
        return client.responses.create(model="scripted", input="hello", background=True).id
    except openai.InternalServerError:
        return None


@pytest.mark.parametrize(
    ("script", "code", "cause"),
    [
        ({"status": 400, "message": "you said \x00"}, "invalid_prompt", "you said"),
        ({"tokens": 3, "finish": "abort"}, "server_error", "aborted its answer"),
    ],
)
def test_a_permanent_error_of_the_model_server_is_not_retried(
    stack: Stack, models: ModelServer, script: dict, code: str, cause: str
) -> None:
    stack.up()
    with stack.client() as client:
        script_text = models.script(tag="error", **script)
        final_response = wait_for_end(
            client, client.responses.create(model="scripted", input=script_text, background=True).id
        )

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert final_response.error.code == code
    assert cause in final_response.error.message
    assert len(models.stats("error")["by_tag"]["error"]) == 1


def test_a_waiting_response_revoked_through_celery_is_cancelled_and_does_not_block_another(
    stack: Stack, models: ModelServer
) -> None:
    stack.up("valkey", "api", "sweeper")
    stack.start("worker", WORKER_SLOTS="1")
    celery = celery_app(stack.valkey.url)
    with stack.client() as client:
        start_runs(stack, client, 1, tokens=20)
        waiting_response = client.responses.create(model="scripted", input="hello", background=True)
        celery.control.revoke(waiting_response.id)
        final_response = wait_for_end(client, waiting_response.id)
        later_response = client.responses.create(model="scripted", input="hello", background=True)

        assert final_response.status == "cancelled"
        assert wait_for_end(client, later_response.id).status == "completed"
    celery.close()


def test_a_running_response_revoked_through_celery_is_cancelled(stack: Stack, models: ModelServer) -> None:
    stack.up()
    celery = celery_app(stack.valkey.url)
    with stack.client() as client:
        (running_id,) = start_runs(stack, client, 1)
        celery.control.revoke(running_id, terminate=True)

        assert wait_for_end(client, running_id).status == "cancelled"
        until(lambda: models.stats()["open"] == 0, timeout_s=2)
    celery.close()


def test_a_worker_stopped_while_redis_hangs_hands_back_its_responses(stack: Stack) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client, redis.Redis.from_url(stack.valkey.url) as valkey:
        response_ids = start_runs(stack, client, 5, first_delay_s=30, tokens=2)
        pid = valkey.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            stack.children["worker"].send_stop_signal()
            stopped_at = time.monotonic()
            until(lambda: stack.sql("select count(*) from responses where status = 'queued'") == [(5,)], timeout_s=8)
            until(stack.children["worker"].ended, timeout_s=20)
            assert time.monotonic() - stopped_at < 20
        finally:
            os.kill(pid, signal.SIGCONT)
        for response_id in response_ids:
            client.responses.cancel(response_id)
    assert stack.sql("select distinct outcome from attempts") == [("handed_back",)]
    assert invariants.check_responses(stack, response_ids) == {"cancelled": 5}


def test_creates_return_within_seconds_while_redis_hangs(stack: Stack) -> None:
    stack.up("valkey", "api")
    # A worker that does not exist, so that the responses are dispatched at their creates.
    stack.sql(
        "insert into workers (id, hostname, pid, lanes, slots, seen_at)"
        " values ('ghost', 'h', 0, '{default}', 500, now() + interval '60 s')"
    )
    with stack.client() as client, redis.Redis.from_url(stack.valkey.url) as valkey:
        pid = valkey.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            max_duration_s = 0.0
            for _ in range(10):
                started_at = time.monotonic()
                client.responses.create(model="scripted", input="hello", background=True)
                max_duration_s = max(max_duration_s, time.monotonic() - started_at)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert max_duration_s < 5
    assert stack.sql("select count(*) from responses") == [(10,)]

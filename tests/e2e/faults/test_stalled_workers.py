"""A worker receives the tasks enqueued for it, or exits so that its supervisor starts another worker."""

import os
import signal
import time
from typing import Any

import redis

from local import ports
from tests import invariants
from tests.harness import tcp_proxy
from tests.harness.health import get_health
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

STALLED_AFTER_S = 6


def read_health(port: int) -> dict[str, Any]:
    _, health = get_health(port)
    return health


def is_healthy(port: int) -> bool:
    status, _ = get_health(port)
    return status == 200


def test_a_stalled_worker_finishes_its_runs_and_exits_with_status_75(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    port = ports.free_port()
    with tcp_proxy.running(stack.valkey.url) as proxy:
        stack.up("valkey", "api", "sweeper")
        stack.start(
            "worker", REDIS_URL=proxy.url, WORKER_HEALTH_PORT=str(port), DRAIN_S="30", DEAF_AFTER_S=str(STALLED_AFTER_S)
        )
        with stack.client() as client:
            running_response = client.responses.create(
                model="scripted", input=models.script(tag="long", tokens=300, delay_s=0.05), background=True
            )
            until(lambda: models.stats()["open"] == 1)
            until(lambda: read_health(port).get("running") == 1)
            proxy.blackhole(from_request=b"BRPOP")
            blackholed_at = time.monotonic()
            until(lambda: proxy.discarded_reads)
            waiting_response = client.responses.create(model="scripted", input="hello", background=True)

            until(stack.children["worker"].ended, timeout_s=STALLED_AFTER_S + 25)
            elapsed_s = time.monotonic() - blackholed_at

            assert stack.children["worker"].ended() == f"status {os.EX_TEMPFAIL}"
            assert 'msg="consumer stalled"' in stack.log("worker")
            assert elapsed_s >= STALLED_AFTER_S
            assert client.responses.retrieve(running_response.id).status == "completed"
            assert client.responses.retrieve(waiting_response.id).status == "queued"

            stack.children.pop("worker")
            stack.start("worker")
            assert wait_for_end(client, waiting_response.id).status == "completed"
    invariants.check_responses(stack, {running_response.id, waiting_response.id})


def test_an_idle_full_or_disconnected_worker_is_not_stalled(stack: Stack, models: ModelServer) -> None:
    port = ports.free_port()
    silence_s = STALLED_AFTER_S * 1.5 + 1
    stack.up("valkey", "api", "sweeper")
    worker = stack.start("worker", WORKER_SLOTS="1", WORKER_HEALTH_PORT=str(port), DEAF_AFTER_S=str(STALLED_AFTER_S))
    with stack.client() as client:
        # An idle worker probes its consumer, and no other worker receives the probes.
        for _ in range(4):
            until(lambda: read_health(port)["heard_s_ago"] > 1)
            until(lambda: read_health(port)["heard_s_ago"] < 1)
        with redis.Redis.from_url(stack.valkey.url) as valkey:
            probe_ttls = {key: valkey.ttl(key) for key in valkey.keys("*ping*") if valkey.type(key) == b"list"}
            assert all(0 < ttl <= 60 for ttl in probe_ttls.values())

        # A full worker consumes nothing.
        running_response = client.responses.create(
            model="scripted", input=models.script(tag="hold", first_delay_s=600), background=True
        )
        until(lambda: models.stats("hold")["open"] == 1)
        until(lambda: read_health(port)["heard_s_ago"] > silence_s, timeout_s=2 * silence_s)
        assert is_healthy(port)
        client.responses.cancel(running_response.id)
        until(lambda: read_health(port)["running"] == 0)
        # Without Redis, no worker receives anything.
        os.kill(stack.children["valkey"].pid, signal.SIGSTOP)
        until(lambda: read_health(port)["heard_s_ago"] > silence_s, timeout_s=3 * silence_s)
        assert is_healthy(port)
        os.kill(stack.children["valkey"].pid, signal.SIGCONT)

        later_response = client.responses.create(model="scripted", input="hello", background=True)
        assert wait_for_end(client, later_response.id, timeout_s=20).status == "completed"
    assert worker.ended() is None
    assert 'msg="consumer stalled"' not in stack.log("worker")


def test_a_worker_consumes_again_within_seconds_after_redis_was_killed(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    worker = stack.up().children["worker"]
    with stack.client() as client:
        running_ids = [
            client.responses.create(
                model="scripted", input=models.script(tag=f"r{number}", tokens=300, delay_s=0.05), background=True
            ).id
            for number in range(3)
        ]
        until(lambda: models.stats()["open"] == 3)
        stack.kill("valkey")
        until(lambda: "Connection to broker lost" in stack.log("worker"))
        until(lambda: "Trying again" in stack.log("worker"))
        stack.start("valkey")
        restarted_at = time.monotonic()
        later_response = client.responses.create(model="scripted", input="hello", background=True)

        assert wait_for_end(client, later_response.id, timeout_s=15).status == "completed"
        assert time.monotonic() - restarted_at < 10
        assert models.stats()["open"] == 3, "a running response was interrupted"
        text = "".join(f"tok{number} " for number in range(300))
        assert {wait_for_end(client, response_id, timeout_s=30).output_text for response_id in running_ids} == {text}
    assert worker.ended() is None
    assert stack.children["worker"] is worker
    assert stack.sql("select max(attempt) from responses") == [(1,)]
    invariants.check_responses(stack, {*running_ids, later_response.id})

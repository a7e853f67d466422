"""A worker receives the tasks enqueued for it, or exits so that its supervisor starts another."""

import os
import signal
import time

import redis

from local import ports
from tests import invariants
from tests.harness import tcp_proxy
from tests.harness.health import health
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer

DEAF_AFTER_S = 6


def test_a_deaf_worker_finishes_what_it_runs_and_leaves_with_a_status(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    port = ports.free()
    with tcp_proxy.running(stack.valkey.url) as proxy:
        stack.up("valkey", "api", "sweeper")
        stack.start(
            "worker", REDIS_URL=proxy.url, WORKER_HEALTH_PORT=str(port), DRAIN_S="30", DEAF_AFTER_S=str(DEAF_AFTER_S)
        )
        with stack.client() as client:
            running = client.responses.create(
                model="scripted", input=models.script(tag="long", tokens=300, delay_s=0.05), background=True
            )
            until(lambda: models.stats()["open"] == 1)
            until(lambda: health(port)[1].get("running") == 1)
            proxy.blackhole(from_request=b"BRPOP")
            since = time.monotonic()
            until(lambda: proxy.swallowed)
            waiting = client.responses.create(model="scripted", input="hello", background=True)

            until(stack.children["worker"].ended, within_s=DEAF_AFTER_S + 25)
            took_s = time.monotonic() - since

            assert stack.children["worker"].ended() == f"status {os.EX_TEMPFAIL}"
            assert 'msg="consumer stalled"' in stack.log("worker")
            assert took_s >= DEAF_AFTER_S
            assert client.responses.retrieve(running.id).status == "completed"
            assert client.responses.retrieve(waiting.id).status == "queued"

            stack.children.pop("worker")
            stack.start("worker")
            assert ended(client, waiting.id).status == "completed"
    invariants.check(stack, {running.id, waiting.id})


def test_a_worker_that_waits_is_full_or_has_no_redis_is_not_deaf(stack: Stack, models: ModelServer) -> None:
    port = ports.free()
    silent_s = DEAF_AFTER_S * 1.5 + 1
    stack.up("valkey", "api", "sweeper")
    worker = stack.start("worker", WORKER_SLOTS="1", WORKER_HEALTH_PORT=str(port), DEAF_AFTER_S=str(DEAF_AFTER_S))
    with stack.client() as client:
        # Idle: the worker probes itself, and no other worker receives the probes.
        for _ in range(4):
            until(lambda: health(port)[1]["heard_s_ago"] > 1)
            until(lambda: health(port)[1]["heard_s_ago"] < 1)
        with redis.Redis.from_url(stack.valkey.url) as valkey:
            kept = {key: valkey.ttl(key) for key in valkey.keys("*ping*") if valkey.type(key) == b"list"}
            assert all(0 < ttl <= 60 for ttl in kept.values())

        # Full: it consumes nothing.
        held = client.responses.create(
            model="scripted", input=models.script(tag="hold", first_delay_s=600), background=True
        )
        until(lambda: models.stats("hold")["open"] == 1)
        until(lambda: health(port)[1]["heard_s_ago"] > silent_s, within_s=2 * silent_s)
        assert health(port)[0] == 200
        client.responses.cancel(held.id)
        until(lambda: health(port)[1]["running"] == 0)
        # Without Redis: no worker receives anything.
        os.kill(stack.children["valkey"].pid, signal.SIGSTOP)
        until(lambda: health(port)[1]["heard_s_ago"] > silent_s, within_s=3 * silent_s)
        assert health(port)[0] == 200
        os.kill(stack.children["valkey"].pid, signal.SIGCONT)

        after = client.responses.create(model="scripted", input="hello", background=True)
        assert ended(client, after.id, within_s=20).status == "completed"
    assert worker.ended() is None
    assert 'msg="consumer stalled"' not in stack.log("worker")


def test_a_worker_consumes_again_within_seconds_after_redis_was_killed_under_its_runs(
    stack: Stack, models: ModelServer
) -> None:
    invariants.watch_ends(stack)
    worker = stack.up().children["worker"]
    with stack.client() as client:
        running = [
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
        since = time.monotonic()
        after = client.responses.create(model="scripted", input="hello", background=True)

        assert ended(client, after.id, within_s=15).status == "completed"
        assert time.monotonic() - since < 10
        assert models.stats()["open"] == 3, "the runs under way were not touched"
        whole = "".join(f"tok{number} " for number in range(300))
        assert {ended(client, one, within_s=30).output_text for one in running} == {whole}
    assert worker.ended() is None
    assert stack.children["worker"] is worker
    assert stack.sql("select max(attempt) from responses") == [(1,)]
    invariants.check(stack, {*running, after.id})

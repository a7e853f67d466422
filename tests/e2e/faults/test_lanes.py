"""Lanes with separate workers, on real processes."""

from pathlib import Path

import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and a separate lane for the tier `flex`."""
    config.write_text(config.read_text() + '[lanes]\nflex = "slow"\n')
    return config


def test_each_worker_runs_only_its_lanes_and_a_lane_waits_for_its_worker(stack: Stack, models: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up("valkey", "api", "sweeper")
    stack.start("worker", WORKER_LANES="default", WORKER_SLOTS="2")
    with stack.client() as client:

        def create(tag: str, tier: str) -> str:
            script = models.script(tag=tag, tokens=3)
            return client.responses.create(
                model="scripted",
                input=script,
                background=True,
                service_tier=tier,  # type: ignore[arg-type]
            ).id

        slow_ids = [create(f"slow{n}", "flex") for n in range(3)]
        default_ids = [create(f"default{n}", "default") for n in range(5)]
        assert {wait_for_end(client, response_id).status for response_id in default_ids} == {"completed"}
        until(lambda: "no worker serves lane" in stack.log("sweeper"))
        assert {client.responses.retrieve(response_id).status for response_id in slow_ids} == {"queued"}

        stack.start("worker-2", WORKER_LANES="slow", WORKER_SLOTS="1")
        assert {wait_for_end(client, response_id).status for response_id in slow_ids} == {"completed"}
        worker_ids = dict(stack.sql("select response_id, worker_id from attempts"))
        slow_workers = {worker_ids[response_id] for response_id in slow_ids}
        assert slow_workers.isdisjoint({worker_ids[response_id] for response_id in default_ids})

        # A worker that serves all lanes runs the responses of both lanes after the other workers have ended.
        stack.stop("worker-2")
        stack.kill("worker")
        stack.start("worker-3")
        later_ids = [create("later-slow", "flex"), create("later-default", "default")]
        assert {wait_for_end(client, response_id).status for response_id in later_ids} == {"completed"}
    invariants.check_responses(stack, {*slow_ids, *default_ids, *later_ids})


def test_a_worker_of_two_lanes_is_sent_no_more_responses_than_it_has_slots(stack: Stack, models: ModelServer) -> None:
    stack.up(WORKER_SLOTS="3")
    with stack.client() as client:
        script = models.script(tag="hold", first_delay_s=600)
        response_ids = [
            client.responses.create(
                model="scripted",
                input=script,
                background=True,
                service_tier=tier,  # type: ignore[arg-type]
            ).id
            for tier in ("flex", "default") * 4
        ]
        until(lambda: models.stats("hold")["open"] == 3)
        assert stack.sql("select count(*) from responses where dispatched_at is not null and status = 'queued'") == [
            (0,)
        ]
        for response_id in response_ids:
            client.responses.cancel(response_id)
        until(stack.all_ended)

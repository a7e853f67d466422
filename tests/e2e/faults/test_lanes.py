"""Lanes with their own workers, as processes."""

from pathlib import Path

import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer


@pytest.fixture
def config(config: Path) -> Path:
    config.write_text(config.read_text() + '[lanes]\nflex = "slow"\n')
    return config


def test_each_worker_runs_what_is_in_its_lanes_and_a_lane_goes_on_when_its_worker_comes(
    stack: Stack, models: ModelServer
) -> None:
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

        slow = [create(f"slow{n}", "flex") for n in range(3)]
        usual = [create(f"usual{n}", "default") for n in range(5)]
        assert {ended(client, one).status for one in usual} == {"completed"}
        until(lambda: "no worker serves lane" in stack.log("sweeper"))
        assert {client.responses.retrieve(one).status for one in slow} == {"queued"}

        stack.start("worker-2", WORKER_LANES="slow", WORKER_SLOTS="1")
        assert {ended(client, one).status for one in slow} == {"completed"}
        ran = dict(stack.sql("select response_id, worker_id from attempts"))
        assert {ran[one] for one in slow}.isdisjoint({ran[one] for one in usual})

        # A worker that serves all lanes takes over when the others are gone.
        stack.stop("worker-2")
        stack.kill("worker")
        stack.start("worker-3")
        both = [create("slow-again", "flex"), create("usual-again", "default")]
        assert {ended(client, one).status for one in both} == {"completed"}
    invariants.check(stack, {*slow, *usual, *both})


def test_a_worker_of_two_lanes_runs_no_more_than_its_slots_and_nobody_waits_to_be_claimed(
    stack: Stack, models: ModelServer
) -> None:
    stack.up(WORKER_SLOTS="3")
    with stack.client() as client:
        hold = models.script(tag="hold", first_delay_s=600)
        ids = [
            client.responses.create(
                model="scripted",
                input=hold,
                background=True,
                service_tier=tier,  # type: ignore[arg-type]
            ).id
            for tier in ("flex", "default") * 4
        ]
        until(lambda: models.stats("hold")["open"] == 3)
        assert stack.sql("select count(*) from responses where dispatched_at is not null and status = 'queued'") == [
            (0,)
        ]
        for one in ids:
            client.responses.cancel(one)
        until(stack.all_ended)

"""Workers killed at random tokens of two hundred streams: every reader sees what an undisturbed reader would."""

import itertools
import os
import random

import pytest

from tests import invariants
from tests.chaos.rig.load import Load, requests, untrue
from tests.chaos.rig.scenarios import WHOLE
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

RESPONSES = 200
TOKENS = 100
KILLS = 8
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251


@pytest.mark.long
def test_two_hundred_streams_are_the_undisturbed_ones_though_workers_are_killed_at_random_tokens(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    print(f"SEED={SEED}")
    chance = random.Random(SEED)
    invariants.watch_ends(stack)
    workers = ("worker", "worker-2", "worker-3")
    stack.up("valkey", "api", "api-2", "sweeper", *workers, PING_S="1", WORKER_SLOTS=str(RESPONSES))
    script = {"tokens": TOKENS, "delay_s": 0.25}
    asked = list(itertools.islice(requests(chance, "kills", ("streamed",), **script), RESPONSES))
    load = Load(stack, asked, at_once=RESPONSES)
    kills = 0
    said = "select coalesce(sum(tokens), 0) from response_events"
    try:
        until(lambda: models.open == RESPONSES, within_s=60)
        while kills < KILLS and stack.sql("select 1 from responses where finished_at is null"):
            enough = stack.sql(said)[0][0] + chance.randrange(100, 1200)
            until(lambda enough=enough: stack.all_ended() or stack.sql(said)[0][0] >= enough, within_s=60)
            if stack.sql("select 1 from responses where status = 'in_progress' and failures > 1"):
                continue  # a third loss would end the response
            name = chance.choice(workers)
            stack.kill(name)
            stack.start(name, WORKER_SLOTS=str(RESPONSES))
            kills += 1
        load.wait(within_s=120)
    finally:
        load.stop()
    figures = invariants.look(
        stack, {one.id for one in asked if one.id}, {one.id: one.events for one in asked if one.id}, everything=True
    )
    lies = [lie for one in asked for lie in untrue(one, one.events[-1]["response"], set(WHOLE))]
    went_on = stack.sql("select count(*) from attempts where attempt > 1")[0][0]
    connections = sum(one.connections for one in asked)
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {figures.accepted} streams, {kills} workers killed, {went_on} attempts more,"
            f" {connections} connections: {dict(figures.statuses)}"
        )
    assert figures.holds, "\n".join(figures.findings[:20])
    assert lies == []
    assert figures.statuses == {"completed": RESPONSES}
    assert went_on > RESPONSES / 4
    until(lambda: models.open == 0, within_s=5)

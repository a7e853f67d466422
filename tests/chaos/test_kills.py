"""Workers that are killed at random tokens of 200 streams: the readers receive complete streams."""

import itertools
import os
import random

import pytest

from tests import invariants
from tests.chaos.rig.load import Load, find_false_statements, generate_requests
from tests.chaos.rig.scenarios import COMPLETED_ONLY
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

RESPONSE_COUNT = 200
TOKEN_COUNT = 100
MAX_KILLS = 8
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251


def kill_random_workers(stack: Stack, workers: tuple[str, ...], rng: random.Random) -> int:
    """Kill and restart workers at random tokens, at most `MAX_KILLS` times; return the number of kills."""
    kills = 0
    token_sum_query = "select coalesce(sum(tokens), 0) from response_events"
    while kills < MAX_KILLS and stack.sql("select 1 from responses where finished_at is null"):
        token_goal = stack.sql(token_sum_query)[0][0] + rng.randrange(100, 1200)
        until(lambda goal=token_goal: stack.all_ended() or stack.sql(token_sum_query)[0][0] >= goal, timeout_s=60)
        if stack.sql("select 1 from responses where status = 'in_progress' and failures > 1"):
            continue  # a third loss would end the response
        name = rng.choice(workers)
        stack.kill(name)
        stack.start(name, WORKER_SLOTS=str(RESPONSE_COUNT))
        kills += 1
    return kills


@pytest.mark.long
def test_two_hundred_streams_stay_complete_while_workers_are_killed_at_random_tokens(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    invariants.watch_ends(stack)
    workers = ("worker", "worker-2", "worker-3")
    stack.up("valkey", "api", "api-2", "sweeper", *workers, PING_S="1", WORKER_SLOTS=str(RESPONSE_COUNT))
    script = {"tokens": TOKEN_COUNT, "delay_s": 0.25}
    requests = list(itertools.islice(generate_requests(rng, "kills", ("streamed",), **script), RESPONSE_COUNT))
    load = Load(stack, requests, client_count=RESPONSE_COUNT)
    try:
        until(lambda: models.open_request_count == RESPONSE_COUNT, timeout_s=60)
        kills = kill_random_workers(stack, workers, rng)
        load.wait(timeout_s=120)
    finally:
        load.stop()
    streams = {request.id: request.events for request in requests if request.id}
    figures = invariants.inspect_responses(stack, streams.keys(), streams, exclusive=True)
    statements = [
        statement
        for request in requests
        for statement in find_false_statements(request, request.events[-1]["response"], set(COMPLETED_ONLY))
    ]
    ((later_attempts,),) = stack.sql("select count(*) from attempts where attempt > 1")
    connection_count = sum(request.connection_count for request in requests)
    with capsys.disabled():
        print(
            f"\nseed {SEED}: {figures.accepted} streams, {kills} workers killed, {later_attempts} later attempts,"
            f" {connection_count} connections: {dict(figures.statuses)}"
        )
    assert figures.has_no_violations, "\n".join(figures.findings[:20])
    assert statements == []
    assert figures.statuses == {"completed": RESPONSE_COUNT}
    assert later_attempts > RESPONSE_COUNT / 4
    until(lambda: models.open_request_count == 0, timeout_s=5)

"""Fair share on real worker processes when many responses compete for few slots: projects and tiers."""

from collections import Counter

import psycopg
import pytest

from core.bootstrap import open_core
from tests.harness.engine import copy_waiting
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer

CROWD = 10_000


def key_of(stack: Stack, project: str) -> str:
    with open_core(stack.settings) as core:
        return core.keys.create(project=project)


def copies(stack: Stack, response_id: str, n: int) -> None:
    """Insert `n` more waiting responses, faster than they could be created."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        copy_waiting(connection, response_id, n)


def running(stack: Stack) -> list[str]:
    return [row[0] for row in stack.sql("select id from responses where status = 'in_progress' order by started_at")]


def singles_are_next(stack: Stack, models: ModelServer, slots: int, rounds: int) -> None:
    """One project fills all slots and the queue; each free slot goes to another project's single response."""
    stack.up(WORKER_SLOTS=str(slots), LEASE_S="30", WORKER_SEEN_S="15")
    hold = models.script(tag="crowd", first_delay_s=600)
    with (
        stack.client(api_key=key_of(stack, "crowd")) as crowd,
        stack.client(api_key=key_of(stack, "single")) as single,
    ):
        for _ in range(slots + 1):
            last = crowd.responses.create(model="scripted", input=hold, background=True).id
        until(lambda: len(running(stack)) == slots)
        copies(stack, last, CROWD - 1)
        assert stack.sql("select count(*) from responses where status = 'queued'") == [(CROWD,)]
        for _ in range(rounds):
            before = running(stack)
            lone = single.responses.create(
                model="scripted", input=models.script(tag="single", tokens=3), background=True
            ).id
            crowd.responses.cancel(before[0])

            assert ended(single, lone, within_s=20).status == "completed"
            until(lambda: len(running(stack)) == slots, within_s=20)
            assert stack.sql(
                "select count(*) from responses c, responses lone where lone.id = %s and c.id <> all (%s)"
                " and c.status = 'in_progress' and c.started_at < lone.started_at",
                lone,
                before,
            ) == [(0,)]


def test_a_single_response_has_the_next_free_slot_before_another_projects_ten_thousand(
    stack: Stack, models: ModelServer
) -> None:
    singles_are_next(stack, models, slots=1, rounds=1)


@pytest.mark.long
@pytest.mark.parametrize("slots", [1, 4])
def test_twenty_times_a_single_response_has_the_next_free_slot_before_another_projects_ten_thousand(
    stack: Stack, models: ModelServer, slots: int
) -> None:
    singles_are_next(stack, models, slots=slots, rounds=20)


def shares(stack: Stack, models: ModelServer, slots: int, turns: int) -> Counter:
    """Count the tiers of the first `turns` responses that started, while every tier had enough waiting."""
    stack.up("valkey", "api")
    with stack.client() as client:
        for tier in ("flex", "default", "no-limit"):
            one = client.responses.create(
                model="scripted",
                input=models.script(tag=tier, tokens=3, delay_s=0.01),
                background=True,
                service_tier=tier,  # type: ignore[arg-type]
            )
            copies(stack, one.id, turns)
        stack.start("worker", WORKER_SLOTS=str(slots))
        stack.start("sweeper")
        until(
            lambda: stack.sql("select count(*) from responses where started_at is not null")[0][0] >= turns,
            within_s=150,
        )
    rows = stack.sql("select tier from responses where started_at is not null order by started_at limit %s", turns)
    return Counter(row[0] for row in rows)


@pytest.mark.parametrize(("slots", "turns"), [(2, 130), pytest.param(20, 1300, marks=pytest.mark.long)])
def test_tiers_share_few_slots_and_many_by_their_weights(
    stack: Stack, models: ModelServer, slots: int, turns: int
) -> None:
    counted = shares(stack, models, slots, turns)

    for tier, weight in (("no-limit", 8), ("default", 4), ("flex", 1)):
        assert counted[tier] == pytest.approx(turns * weight / 13, rel=0.15, abs=2), counted

"""Fair share of few slots between projects and between tiers, on real worker processes."""

from collections import Counter

import psycopg
import pytest

from core.bootstrap import open_core
from tests.harness.engine import copy_waiting_response
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

CROWD_SIZE = 10_000  # waiting responses of one project


def create_key(stack: Stack, project: str) -> str:
    with open_core(stack.settings) as core:
        return core.keys.create(project=project)


def insert_copies(stack: Stack, response_id: str, count: int) -> None:
    """Insert copies of a waiting response, because creating them would take much longer."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        copy_waiting_response(connection, response_id, count)


def running_ids(stack: Stack) -> list[str]:
    """The IDs of the running responses, in the order of their start."""
    return [row[0] for row in stack.sql("select id from responses where status = 'in_progress' order by started_at")]


def check_single_responses(stack: Stack, models: ModelServer, slots: int, rounds: int) -> None:
    """Fill all slots and the queue with one project's responses; assert that another project's response starts next."""
    stack.up(WORKER_SLOTS=str(slots), LEASE_S="30", WORKER_SEEN_S="15")
    hanging_script = models.script(tag="crowd", first_delay_s=600)
    with (
        stack.client(api_key=create_key(stack, "crowd")) as crowd,
        stack.client(api_key=create_key(stack, "single")) as single,
    ):
        for _ in range(slots + 1):
            waiting_id = crowd.responses.create(model="scripted", input=hanging_script, background=True).id
        until(lambda: len(running_ids(stack)) == slots)
        insert_copies(stack, waiting_id, CROWD_SIZE - 1)
        assert stack.sql("select count(*) from responses where status = 'queued'") == [(CROWD_SIZE,)]
        for _ in range(rounds):
            running_before = running_ids(stack)
            single_id = single.responses.create(
                model="scripted", input=models.script(tag="single", tokens=3), background=True
            ).id
            crowd.responses.cancel(running_before[0])

            assert wait_for_end(single, single_id, timeout_s=20).status == "completed"
            until(lambda: len(running_ids(stack)) == slots, timeout_s=20)
            assert stack.sql(
                "select count(*) from responses crowd, responses single where single.id = %s and crowd.id <> all (%s)"
                " and crowd.status = 'in_progress' and crowd.started_at < single.started_at",
                single_id,
                running_before,
            ) == [(0,)]


def test_a_single_response_gets_the_next_slot_before_ten_thousand_of_another_project(
    stack: Stack, models: ModelServer
) -> None:
    check_single_responses(stack, models, slots=1, rounds=1)


@pytest.mark.long
@pytest.mark.parametrize("slots", [1, 4])
def test_twenty_single_responses_each_get_the_next_slot_before_ten_thousand_of_another_project(
    stack: Stack, models: ModelServer, slots: int
) -> None:
    check_single_responses(stack, models, slots=slots, rounds=20)


def count_tiers(stack: Stack, models: ModelServer, slots: int, start_count: int) -> Counter:
    """Run a backlog of three tiers; count the tiers of the first `start_count` responses that started."""
    stack.up("valkey", "api")
    with stack.client() as client:
        for tier in ("flex", "default", "no-limit"):
            response = client.responses.create(
                model="scripted",
                input=models.script(tag=tier, tokens=3, delay_s=0.01),
                background=True,
                service_tier=tier,  # type: ignore[arg-type]
            )
            insert_copies(stack, response.id, start_count)
        stack.start("worker", WORKER_SLOTS=str(slots))
        stack.start("sweeper")
        until(
            lambda: stack.sql("select count(*) from responses where started_at is not null")[0][0] >= start_count,
            timeout_s=150,
        )
    tiers_query = "select tier from responses where started_at is not null order by started_at limit %s"
    return Counter(tier for (tier,) in stack.sql(tiers_query, start_count))


@pytest.mark.parametrize(("slots", "start_count"), [(2, 130), pytest.param(20, 1300, marks=pytest.mark.long)])
def test_tiers_share_slots_in_proportion_to_their_weights(
    stack: Stack, models: ModelServer, slots: int, start_count: int
) -> None:
    counts = count_tiers(stack, models, slots, start_count)

    for tier, weight in (("no-limit", 8), ("default", 4), ("flex", 1)):
        assert counts[tier] == pytest.approx(start_count * weight / 13, rel=0.15, abs=2), counts

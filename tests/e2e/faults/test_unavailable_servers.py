"""Unavailable, full and recovering model servers, one of several or all: nothing is lost, and no other model waits."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import openai
import pytest

from tests import invariants, model_server
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer


@pytest.fixture
def first() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


@pytest.fixture
def second() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, models: ModelServer, first: ModelServer, second: ModelServer) -> Path:
    """A model with two servers, a model with only the first of them, and a third model with its own server."""
    path = tmp_path / "backburner.toml"
    clocks = "timeouts = { first_token = 40, idle = 2, run = 60 }"
    path.write_text(f"""
[models.scripted]
base_urls = ["{first.base_url}", "{second.base_url}"]
{clocks}
[models.single]
base_url = "{first.base_url}"
{clocks}
[models.other]
base_url = "{models.base_url}"
""")
    return path


def submit(client: openai.OpenAI, number: int, model: str = "scripted", **script: object) -> list[str]:
    """Create `number` responses, tagged by their number unless the script says otherwise."""
    return [
        client.responses.create(
            model=model, input=ModelServer.script(**({"tag": f"r{one}", "tokens": 2} | script)), background=True
        ).id
        for one in range(number)
    ]


def statuses(stack: Stack, ids: list[str]) -> set[str]:
    return {row[0] for row in stack.sql("select status from responses where id = any (%s)", ids)}


def starts(server: ModelServer, tag: str) -> list[float]:
    """Start times of the requests with this tag, by the machine's monotonic clock."""
    return sorted(record["started"] for record in server.stats(tag)["by_tag"][tag])


def test_requests_are_spread_over_the_servers_of_a_model(stack: Stack, first: ModelServer, second: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        ids = submit(client, 20, first_delay_s=2)
        until(lambda: first.stats()["open"] + second.stats()["open"] == 20)

        assert first.stats()["open"] == 10
        until(lambda: statuses(stack, ids) == {"completed"})


def test_with_one_server_dead_all_is_answered_by_the_other_at_the_first_attempt(
    stack: Stack, first: ModelServer, second: ModelServer
) -> None:
    invariants.watch_ends(stack)
    second.kill()
    stack.up()
    with stack.client() as client:
        ids = submit(client, 20)
        until(stack.all_ended)

    assert stack.sql("select distinct status, attempt, failures, waits from responses") == [("completed", 1, 0, 0)]
    assert first.stats()["requests"] == 20
    assert "endpoint set aside" in stack.log("worker")
    assert stack.sql("select count(*) from circuits") == [(0,)]
    invariants.check(stack, set(ids))


def test_a_server_killed_before_the_first_output_is_replaced_without_anybody_noticing(
    stack: Stack, first: ModelServer, second: ModelServer
) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client:
        ids = submit(client, 10, first_delay_s=2)
        until(lambda: first.stats()["open"] == second.stats()["open"] == 5)
        moved = set(second.stats()["by_tag"])
        killed_at = time.monotonic()
        second.kill()
        until(stack.all_ended)

    assert stack.sql("select distinct status, attempt, failures, waits from responses") == [("completed", 1, 0, 0)]
    asked = first.stats()["by_tag"]
    assert len(asked) == 10
    assert all(len(records) == 1 for records in asked.values())  # no duplicate or needless requests
    assert all(asked[tag][0]["started"] > killed_at for tag in moved)
    invariants.check(stack, set(ids))


def test_with_all_servers_dead_responses_wait_in_postgres_and_go_as_soon_as_one_is_back(
    stack: Stack, models: ModelServer, first: ModelServer, second: ModelServer
) -> None:
    invariants.watch_ends(stack)
    first.kill()
    second.kill()
    stack.up("valkey", "api", "sweeper")
    stack.start("worker", WORKER_SLOTS="4")
    with stack.client() as client:
        ids = submit(client, 12)
        until(lambda: stack.sql("select failures > 2 from circuits where model = 'scripted'") == [(True,)])
        busy = "select count(*) from responses where status = 'in_progress' or dispatched_at is not null"
        assert stack.sql(busy)[0][0] <= 1
        others = submit(client, 12, model="other")
        until(lambda: statuses(stack, others) == {"completed"}, within_s=5)
        assert statuses(stack, ids) <= {"queued", "in_progress"}
        waited = stack.sql("select distinct cause from attempts where outcome = 'waited'")

        first.restart()
        until(stack.all_ended, within_s=5)

    assert statuses(stack, ids) == {"completed"}
    assert waited
    assert all(cause.startswith("The model server cannot be reached") for (cause,) in waited)
    assert stack.sql("select count(*) from circuits") == [(0,)]
    # Those that arrived while the circuit was open took no slot before it closed.
    assert len(stack.sql("select id from responses where model = 'scripted' and attempt = 1")) >= 4
    invariants.check(stack, {*ids, *others})


def test_while_a_circuit_is_open_the_server_sees_one_request_at_a_time_and_none_between(
    stack: Stack, first: ModelServer
) -> None:
    stack.up()
    stack.start("worker-2")
    with stack.client() as client:
        ids = submit(client, 10, model="single", tag="full", status=503, fail_times=24)
        # By then, no response that was running when the circuit opened still waits in a slot.
        until(lambda: stack.sql("select 1 from circuits where failures > 2"), within_s=30)
        opened_at = time.monotonic()
        until(lambda: statuses(stack, ids) == {"completed"}, within_s=60)

    probes = [one for one in starts(first, "full")[:25] if one > opened_at]
    assert len(probes) >= 3
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert min(gaps) > 0.45  # the shortest time for which a circuit is open
    assert stack.sql("select count(*) from circuits") == [(0,)]
    assert stack.sql("select distinct failures from responses") == [(0,)]


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then(stack: Stack, first: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        ids = submit(client, 3, model="single", tag="limit", status=429, retry_after=4, fail_times=3)
        until(lambda: stack.sql("select 1 from circuits"))
        behind = submit(client, 3, model="single")
        other = submit(client, 1, model="other")
        until(lambda: statuses(stack, other) == {"completed"}, within_s=3)
        until(lambda: statuses(stack, ids + behind) == {"completed"}, within_s=15)

    refused_at = starts(first, "limit")[2]
    assert min(starts(first, tag)[0] for tag in ("r0", "r1", "r2")) - refused_at > 3.9
    assert starts(first, "limit")[3] - refused_at > 3.9


def test_a_deadline_that_passes_behind_a_circuit_says_so(stack: Stack, first: ModelServer) -> None:
    first.kill()
    stack.up("valkey", "sweeper")
    stack.start("api", QUEUE_TIMEOUT_S="4")
    stack.start("worker", WORKER_SLOTS="1")
    with stack.client() as client:
        ids = submit(client, 6, model="single")
        finals = [ended(client, one, within_s=15) for one in ids]

    assert {final.status for final in finals} == {"failed"}
    messages = [final.error.message for final in finals if final.error]
    assert all("The model server cannot be reached" in message for message in messages)
    assert any("because its model server was unavailable" in message for message in messages)
    assert any("the last attempt" in message for message in messages)


def test_a_worker_killed_while_it_probes_is_followed_by_another_probe(stack: Stack, first: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    stack.sql("insert into circuits (model, open_until, cause) values ('single', now(), 'It was away.')")
    with stack.client() as client:
        (probe,) = submit(client, 1, model="single", tag="probe", status=503, first_delay_s=6, fail_times=1)
        until(lambda: first.stats("probe")["open"] == 1)
        assert stack.sql("select probe from circuits") == [(probe,)]
        behind = submit(client, 3, model="single")
        stack.kill("worker")
        stack.start("worker")
        until(stack.all_ended, within_s=20)

    assert statuses(stack, [probe, *behind]) == {"completed"}
    assert stack.sql("select outcome from attempts where response_id = %s order by attempt", probe) == [
        ("lost",),
        ("completed",),
    ]
    assert stack.sql("select count(*) from circuits") == [(0,)]
    invariants.check(stack, {probe, *behind})


def test_one_response_that_is_always_refused_does_not_keep_the_others_from_their_server(
    stack: Stack, first: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:
        (poison,) = submit(client, 1, model="single", tag="poison", status=503)
        for _ in range(4):
            asked = len(starts(first, "poison"))
            until(lambda asked=asked: len(starts(first, "poison")) > asked)
            for one in submit(client, 3, model="single"):
                assert ended(client, one, within_s=3).status == "completed"

        assert "circuit opened" not in stack.log("worker")
        assert client.responses.cancel(poison).status == "cancelled"


def test_several_responses_that_are_always_refused_do_not_stop_the_others_for_ever(
    stack: Stack, first: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:
        poisons = submit(client, 6, model="single", tag="poison", status=503)
        until(lambda: stack.sql("select 1 from circuits"))
        good = submit(client, 10, model="single")
        until(lambda: statuses(stack, good) == {"completed"}, within_s=20)

        assert statuses(stack, poisons) <= {"queued", "in_progress"}


def test_a_refusal_of_the_probe_shows_that_the_server_is_well(stack: Stack) -> None:
    stack.up()
    stack.sql("insert into circuits (model, open_until, cause) values ('single', now(), 'It was away.')")
    with stack.client() as client:
        (wrong,) = submit(client, 1, model="single", status=400, message="No.")
        final = ended(client, wrong)

    assert final.error is not None
    assert final.error.code == "invalid_prompt"
    assert stack.sql("select count(*) from circuits") == [(0,)]

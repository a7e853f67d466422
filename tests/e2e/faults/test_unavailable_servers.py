"""With unavailable, full or recovering model servers, no response is lost and no other model waits."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import openai
import pytest

from tests import invariants, model_server
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


@pytest.fixture
def first_server() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


@pytest.fixture
def second_server() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, models: ModelServer, first_server: ModelServer, second_server: ModelServer) -> Path:
    """A model with two servers, a model with only the first of them, and a third model with its own server."""
    path = tmp_path / "backburner.toml"
    timeouts = "timeouts = { first_token = 40, idle = 2, run = 60 }"
    path.write_text(f"""
[models.scripted]
base_urls = ["{first_server.base_url}", "{second_server.base_url}"]
{timeouts}
[models.single]
base_url = "{first_server.base_url}"
{timeouts}
[models.other]
base_url = "{models.base_url}"
""")
    return path


def create_responses(client: openai.OpenAI, count: int, model: str = "scripted", **script: object) -> list[str]:
    """Create `count` responses, tagged `r0`, `r1` and so on unless `script` contains a tag; return their IDs."""
    return [
        client.responses.create(
            model=model, input=ModelServer.script(**({"tag": f"r{number}", "tokens": 2} | script)), background=True
        ).id
        for number in range(count)
    ]


def read_statuses(stack: Stack, response_ids: list[str]) -> set[str]:
    return {status for (status,) in stack.sql("select status from responses where id = any (%s)", response_ids)}


def start_times(server: ModelServer, tag: str) -> list[float]:
    """The start times of the requests with this tag, by the machine's monotonic clock."""
    return sorted(record["started"] for record in server.stats(tag)["by_tag"][tag])


def test_requests_are_spread_over_the_servers_of_a_model(
    stack: Stack, first_server: ModelServer, second_server: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:
        response_ids = create_responses(client, 20, first_delay_s=2)
        until(lambda: first_server.stats()["open"] + second_server.stats()["open"] == 20)

        assert first_server.stats()["open"] == 10
        until(lambda: read_statuses(stack, response_ids) == {"completed"})


def test_with_one_server_dead_the_other_answers_every_request_at_the_first_attempt(
    stack: Stack, first_server: ModelServer, second_server: ModelServer
) -> None:
    invariants.watch_ends(stack)
    second_server.kill()
    stack.up()
    with stack.client() as client:
        response_ids = create_responses(client, 20)
        until(stack.all_ended)

    assert stack.sql("select distinct status, attempt, failures, waits from responses") == [("completed", 1, 0, 0)]
    assert first_server.stats()["requests"] == 20
    assert "endpoint set aside" in stack.log("worker")
    assert stack.sql("select count(*) from circuits") == [(0,)]
    invariants.check_responses(stack, set(response_ids))


def test_a_server_killed_before_the_first_output_is_replaced_within_the_attempt(
    stack: Stack, first_server: ModelServer, second_server: ModelServer
) -> None:
    invariants.watch_ends(stack)
    stack.up()
    with stack.client() as client:
        response_ids = create_responses(client, 10, first_delay_s=2)
        until(lambda: first_server.stats()["open"] == second_server.stats()["open"] == 5)
        moved_tags = set(second_server.stats()["by_tag"])
        killed_at = time.monotonic()
        second_server.kill()
        until(stack.all_ended)

    assert stack.sql("select distinct status, attempt, failures, waits from responses") == [("completed", 1, 0, 0)]
    runs_by_tag = first_server.stats()["by_tag"]
    assert len(runs_by_tag) == 10
    assert all(len(runs) == 1 for runs in runs_by_tag.values())  # no duplicate or needless requests
    assert all(runs_by_tag[tag][0]["started"] > killed_at for tag in moved_tags)
    invariants.check_responses(stack, set(response_ids))


def test_with_all_servers_dead_responses_wait_in_postgres_until_one_returns(
    stack: Stack, models: ModelServer, first_server: ModelServer, second_server: ModelServer
) -> None:
    invariants.watch_ends(stack)
    first_server.kill()
    second_server.kill()
    stack.up("valkey", "api", "sweeper")
    stack.start("worker", WORKER_SLOTS="4")
    with stack.client() as client:
        response_ids = create_responses(client, 12)
        until(lambda: stack.sql("select failures > 2 from circuits where model = 'scripted'") == [(True,)])
        active_query = "select count(*) from responses where status = 'in_progress' or dispatched_at is not null"
        ((active_count,),) = stack.sql(active_query)
        assert active_count <= 1
        other_ids = create_responses(client, 12, model="other")
        until(lambda: read_statuses(stack, other_ids) == {"completed"}, timeout_s=5)
        assert read_statuses(stack, response_ids) <= {"queued", "in_progress"}
        causes = stack.sql("select distinct cause from attempts where outcome = 'waited'")

        first_server.restart()
        until(stack.all_ended, timeout_s=5)

    assert read_statuses(stack, response_ids) == {"completed"}
    assert causes
    assert all(cause.startswith("The model server cannot be reached") for (cause,) in causes)
    assert stack.sql("select count(*) from circuits") == [(0,)]
    # Responses created while the circuit was open took no slot before it closed.
    assert len(stack.sql("select id from responses where model = 'scripted' and attempt = 1")) >= 4
    invariants.check_responses(stack, {*response_ids, *other_ids})


def test_an_open_circuit_sends_its_server_only_one_probe_at_a_time(stack: Stack, first_server: ModelServer) -> None:
    failure_count = 24
    stack.up()
    stack.start("worker-2")
    with stack.client() as client:
        response_ids = create_responses(client, 10, model="single", tag="full", status=503, fail_times=failure_count)
        # After three failures, no response that ran when the circuit opened still waits in a slot.
        until(lambda: stack.sql("select 1 from circuits where failures > 2"), timeout_s=30)
        opened_at = time.monotonic()
        until(lambda: read_statuses(stack, response_ids) == {"completed"}, timeout_s=60)

    probe_times = [started for started in start_times(first_server, "full")[: failure_count + 1] if started > opened_at]
    assert len(probe_times) >= 3
    gaps = [later - earlier for earlier, later in pairwise(probe_times)]
    assert min(gaps) > 0.45  # the shortest time for which a circuit is open
    assert stack.sql("select count(*) from circuits") == [(0,)]
    assert stack.sql("select distinct failures from responses") == [(0,)]


def test_a_server_with_retry_after_gets_no_request_before_that_time(stack: Stack, first_server: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        response_ids = create_responses(client, 3, model="single", tag="limit", status=429, retry_after=4, fail_times=3)
        until(lambda: stack.sql("select 1 from circuits"))
        waiting_ids = create_responses(client, 3, model="single")
        other_ids = create_responses(client, 1, model="other")
        until(lambda: read_statuses(stack, other_ids) == {"completed"}, timeout_s=3)
        until(lambda: read_statuses(stack, response_ids + waiting_ids) == {"completed"}, timeout_s=15)

    last_429_at = start_times(first_server, "limit")[2]
    assert min(start_times(first_server, tag)[0] for tag in ("r0", "r1", "r2")) - last_429_at > 3.9
    assert start_times(first_server, "limit")[3] - last_429_at > 3.9


def test_a_response_that_expires_behind_an_open_circuit_reports_the_unavailable_server(
    stack: Stack, first_server: ModelServer
) -> None:
    first_server.kill()
    stack.up("valkey", "sweeper")
    stack.start("api", QUEUE_TIMEOUT_S="4")
    stack.start("worker", WORKER_SLOTS="1")
    with stack.client() as client:
        response_ids = create_responses(client, 6, model="single")
        final_responses = [wait_for_end(client, response_id, timeout_s=15) for response_id in response_ids]

    assert {final_response.status for final_response in final_responses} == {"failed"}
    messages = [final_response.error.message for final_response in final_responses if final_response.error]
    assert all("The model server cannot be reached" in message for message in messages)
    assert any("because its model server was unavailable" in message for message in messages)
    assert any("the last attempt" in message for message in messages)


def test_a_probe_lost_with_its_worker_is_followed_by_another_probe(stack: Stack, first_server: ModelServer) -> None:
    invariants.watch_ends(stack)
    stack.up()
    stack.sql("insert into circuits (model, open_until, cause) values ('single', now(), 'It was unavailable.')")
    with stack.client() as client:
        (probe_id,) = create_responses(
            client, 1, model="single", tag="probe", status=503, first_delay_s=6, fail_times=1
        )
        until(lambda: first_server.stats("probe")["open"] == 1)
        assert stack.sql("select probe from circuits") == [(probe_id,)]
        waiting_ids = create_responses(client, 3, model="single")
        stack.kill("worker")
        stack.start("worker")
        until(stack.all_ended, timeout_s=20)

    assert read_statuses(stack, [probe_id, *waiting_ids]) == {"completed"}
    assert stack.sql("select outcome from attempts where response_id = %s order by attempt", probe_id) == [
        ("lost",),
        ("completed",),
    ]
    assert stack.sql("select count(*) from circuits") == [(0,)]
    invariants.check_responses(stack, {probe_id, *waiting_ids})


def test_one_response_that_always_gets_503_does_not_block_the_others(stack: Stack, first_server: ModelServer) -> None:
    stack.up()
    with stack.client() as client:
        (failing_id,) = create_responses(client, 1, model="single", tag="failing", status=503)
        for _ in range(4):
            request_count = len(start_times(first_server, "failing"))
            until(lambda count=request_count: len(start_times(first_server, "failing")) > count)
            for response_id in create_responses(client, 3, model="single"):
                assert wait_for_end(client, response_id, timeout_s=3).status == "completed"

        assert "circuit opened" not in stack.log("worker")
        assert client.responses.cancel(failing_id).status == "cancelled"


def test_several_responses_that_always_get_503_do_not_block_the_others_permanently(
    stack: Stack, first_server: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:
        failing_ids = create_responses(client, 6, model="single", tag="failing", status=503)
        until(lambda: stack.sql("select 1 from circuits"))
        valid_ids = create_responses(client, 10, model="single")
        until(lambda: read_statuses(stack, valid_ids) == {"completed"}, timeout_s=20)

        assert read_statuses(stack, failing_ids) <= {"queued", "in_progress"}


def test_a_probe_that_gets_400_closes_the_circuit(stack: Stack) -> None:
    stack.up()
    stack.sql("insert into circuits (model, open_until, cause) values ('single', now(), 'It was unavailable.')")
    with stack.client() as client:
        (response_id,) = create_responses(client, 1, model="single", status=400, message="No.")
        final_response = wait_for_end(client, response_id)

    assert final_response.error is not None
    assert final_response.error.code == "invalid_prompt"
    assert stack.sql("select count(*) from circuits") == [(0,)]

"""After SIGHUP, running processes use the new models, and no accepted response fails because of the reload."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests import invariants, model_server
from tests.e2e.reload.reloading import PARTS, registered_workers, reload_models, send_hangup, start_parts, write_models
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer
from tests.stream_checker import open_event_stream


@pytest.fixture
def config(tmp_path: Path, models: ModelServer) -> Path:
    """A configuration with one model."""
    path = tmp_path / "backburner.toml"
    write_models(path, models, {"first": ""})
    return path


@pytest.fixture
def second_server() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


def submit(client: openai.OpenAI, model: str, **script: object) -> str:
    """Create a background response; return its ID."""
    text = ModelServer.script(**{"tokens": 3, **script})
    return client.responses.create(model=model, input=text, background=True).id


def is_unknown(client: openai.OpenAI, model: str) -> bool:
    """Whether a create is rejected because the API does not know the model."""
    try:
        submit(client, model)
    except openai.BadRequestError as error:
        return error.code == "model_not_found"
    return False


@pytest.mark.parametrize("api_processes", [1, 2])
def test_an_added_model_is_used_by_every_process_without_a_restart(
    stack: Stack, models: ModelServer, config: Path, api_processes: int
) -> None:
    start_parts(stack, API_PROCESSES=str(api_processes))
    worker_ids = registered_workers(stack)
    # Each request of this client uses a new connection, so that any of the API processes may receive it.
    with stack.client(default_headers={"Connection": "close"}) as client:
        assert is_unknown(client, "second")
        write_models(config, models, {"first": "", "second": ""})
        reload_models(stack, api_processes=api_processes)

        response_ids = [submit(client, "second") for _ in range(10 * api_processes)]
        assert {wait_for_end(client, response_id).status for response_id in response_ids} == {"completed"}
        assert {tuple(model.id for model in client.models.list()) for _ in range(10)} == {("first", "second")}
    assert registered_workers(stack) == worker_ids
    assert stack.sql("select count(*) from attempts where outcome <> 'completed'") == [(0,)]
    assert all(stack.children[name].ended() is None for name in PARTS)
    assert "added_models=second" in stack.log("worker")


def test_a_worker_publishes_its_models_immediately_after_a_reload(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    start_parts(stack, RENEW_EVERY_S="30", LEASE_S="60", WORKER_SEEN_S="60", SWEEP_EVERY_S="60")
    write_models(config, models, {"first": "", "second": "concurrency = 3"})
    reload_models(stack, "api")
    with stack.client() as client:
        response_id = submit(client, "second")
        reload_models(stack, "worker")

        assert wait_for_end(client, response_id).status == "completed"
    assert stack.sql("select models from workers") == [({"first": None, "second": 3},)]


def test_responses_of_a_removed_model_run_or_wait_until_a_worker_knows_it_again(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    both_models = {"first": "", "second": "concurrency = 1"}
    write_models(config, models, both_models)
    start_parts(stack)
    with stack.client() as client:
        running_id = submit(client, "second", tag="running", tokens=30, delay_s=0.1)
        until(lambda: models.stats("running")["open"] == 1)
        waiting_ids = [submit(client, "second") for _ in range(3)]
        write_models(config, models, {"first": ""})
        reload_models(stack)

        assert is_unknown(client, "second")
        assert wait_for_end(client, submit(client, "first")).status == "completed"
        assert wait_for_end(client, running_id).status == "completed"
        until(lambda: "no worker of the lane knows the model" in stack.log("sweeper"))
        assert {client.responses.retrieve(response_id).status for response_id in waiting_ids} == {"queued"}
        write_models(config, models, both_models)
        reload_models(stack)
        assert {wait_for_end(client, response_id, 30).status for response_id in waiting_ids} == {"completed"}
    assert stack.sql("select distinct outcome from attempts") == [("completed",)]


def test_a_renamed_model_is_refused_under_its_old_name_while_its_running_response_continues(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    start_parts(stack)
    with stack.client() as client:
        running_id = submit(client, "first", tag="running", tokens=30, delay_s=0.1)
        until(lambda: models.stats("running")["open"] == 1)
        write_models(config, models, {"renamed": ""})
        reload_models(stack)

        assert is_unknown(client, "first")
        assert wait_for_end(client, submit(client, "renamed")).status == "completed"
        assert client.responses.retrieve(running_id).status == "in_progress"
        assert wait_for_end(client, running_id).status == "completed"


def test_running_responses_keep_their_server_and_later_ones_use_the_new_server(
    stack: Stack, models: ModelServer, second_server: ModelServer, config: Path
) -> None:
    start_parts(stack)
    with stack.client() as client:
        running_id = submit(client, "first", tag="running", tokens=30, delay_s=0.1)
        until(lambda: models.stats("running")["open"] == 1)
        write_models(config, second_server, {"first": ""})
        reload_models(stack)
        later_id = submit(client, "first", tag="later")

        assert wait_for_end(client, later_id).status == "completed"
        assert wait_for_end(client, running_id).status == "completed"
    assert len(models.stats("running")["by_tag"]["running"]) == 1
    assert not models.stats("later")["by_tag"].get("later")
    assert len(second_server.stats("later")["by_tag"]["later"]) == 1


def test_a_changed_concurrency_takes_effect_in_dispatch(stack: Stack, models: ModelServer, config: Path) -> None:
    write_models(config, models, {"first": "concurrency = 1", "other": ""})
    start_parts(stack)
    with stack.client() as client:
        for _ in range(6):
            submit(client, "first", tag="held", first_delay_s=600)
        until(lambda: models.stats("held")["open"] == 1)
        write_models(config, models, {"first": "concurrency = 4", "other": ""})
        reload_models(stack)
        until(lambda: models.stats("held")["open"] == 4)

        write_models(config, models, {"first": "concurrency = 1", "other": ""})
        reload_models(stack)
        running_query = "select id from responses where status = 'in_progress' order by id"
        for (response_id,) in stack.sql(running_query)[:3]:
            client.responses.cancel(response_id)
        # When the next responses have ended, the workers and the sweeper have dispatched again since the cancellations.
        for _ in range(3):
            assert wait_for_end(client, submit(client, "other")).status == "completed"
        assert len(stack.sql(running_query)) == 1
        for (response_id,) in stack.sql("select id from responses where finished_at is null"):
            client.responses.cancel(response_id)
    until(stack.all_ended)


def test_streams_and_requests_that_wait_continue_across_reloads(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    invariants.watch_ends(stack)
    start_parts(stack, API_PROCESSES="2")
    body = {"model": "first", "input": models.script(tag="open", tokens=40, delay_s=0.1), "stream": True}
    with (
        stack.client() as client,
        ThreadPoolExecutor(2) as threads,
        open_event_stream(stack.port, stack.key, "/v1/responses", body | {"background": True}) as background,
        open_event_stream(stack.port, stack.key, "/v1/responses", body) as foreground,
    ):
        foreground_create = threads.submit(client.responses.create, model="first", input=body["input"])
        response_id = background.read(1)[0]["response"]["id"]
        poll = threads.submit(client.responses.retrieve, response_id, extra_headers={"Prefer": "wait=20"})
        until(lambda: models.stats("open")["open"] == 3)
        for timeout_s in (30, 31, 32):
            write_models(config, models, {"first": f"timeouts = {{ run = {timeout_s} }}"})
            reload_models(stack, api_processes=2)
            assert models.stats("open")["open"] == 3

        for stream in (background, foreground):
            assert stream.read()[-1]["type"] == "response.completed"
            assert stream.error is None
        assert foreground_create.result().status == poll.result().status == "completed"
    invariants.check_responses(stack, {row[0] for row in stack.sql("select id from responses")})


def test_a_burst_of_reloads_under_load_fails_no_request_and_no_response(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    invariants.watch_ends(stack)
    start_parts(stack, API_PROCESSES="2")
    worker_ids = registered_workers(stack)

    def create_until(deadline: float) -> list[str]:
        response_ids = []
        with stack.client(default_headers={"Connection": "close"}) as client:
            while time.monotonic() < deadline:
                response_ids.append(submit(client, "first", tokens=5, delay_s=0.02))
                client.responses.retrieve(response_ids[-1])
        return response_ids

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(create_until, time.monotonic() + 3) for _ in range(4)]
        for number in range(20):
            until(lambda number=number: stack.sql("select count(*) > %s from responses", 2 * number)[0][0])
            entries = {"first": "", "second": ""} if number % 2 else {"first": "concurrency = 50"}
            write_models(config.with_suffix(".new"), models, entries)
            config.with_suffix(".new").rename(config)
            send_hangup(stack)
        response_ids = {response_id for client in clients for response_id in client.result()}
    until(stack.all_ended, timeout_s=30)

    assert stack.sql("select distinct status from responses") == [("completed",)]
    assert stack.sql("select distinct outcome from attempts") == [("completed",)]
    assert registered_workers(stack) == worker_ids
    until(lambda: all("added_models=second" in stack.log(name) for name in PARTS))
    invariants.check_responses(stack, response_ids)

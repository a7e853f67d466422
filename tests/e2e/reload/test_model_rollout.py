"""A change of the configured models fails no accepted response, in whatever order API and workers restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer


def write_configuration(path: Path, models: ModelServer, *names: str) -> str:
    """Write a configuration with these models; return its path."""
    entry = f'base_url = "{models.base_url}"\nupstream_model = "scripted"\n'
    path.write_text("\n".join(f"[models.{name}]\n{entry}" for name in names))
    return str(path)


@pytest.fixture
def rollout_stack(postgres_url: str, template: str, models: ModelServer, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose first configuration contains only the model `first`."""
    config = tmp_path / "first.toml"
    write_configuration(config, models, "first")
    with Stack(tmp_path / "home", new_database(postgres_url, template), config, models) as stack:
        yield stack


def test_a_response_waits_for_a_worker_that_knows_its_model_and_the_sweeper_reports_the_model(
    rollout_stack: Stack, models: ModelServer, tmp_path: Path
) -> None:
    new_config = write_configuration(tmp_path / "new.toml", models, "first", "second")
    rollout_stack.up("valkey", "worker", "sweeper")
    rollout_stack.start("api", CONFIG=new_config)
    with rollout_stack.client() as client:
        response_ids = [
            client.responses.create(model=model, input=models.script(tokens=3), background=True).id
            for model in ("first", "second") * 5
        ]
        until(lambda: rollout_stack.sql("select count(*) from responses where status = 'completed'") == [(5,)])
        until(lambda: "no worker of the lane knows the model" in rollout_stack.log("sweeper"))
        attempt_numbers = rollout_stack.sql("select distinct attempt from responses where model = 'second'")
        rollout_stack.stop("worker")
        rollout_stack.start("worker", CONFIG=new_config)
        until(rollout_stack.all_ended, timeout_s=30)
        statuses = [client.responses.retrieve(response_id).status for response_id in response_ids]

    assert attempt_numbers == [(0,)]
    assert statuses == ["completed"] * 10


def test_responses_of_a_model_that_one_of_two_workers_knows_run_on_that_worker(
    rollout_stack: Stack, models: ModelServer, tmp_path: Path
) -> None:
    new_config = write_configuration(tmp_path / "new.toml", models, "first", "second")
    rollout_stack.up("valkey", "worker-old", "sweeper", WORKER_SLOTS="20")
    rollout_stack.start("worker-new", CONFIG=new_config, WORKER_SLOTS="2")
    rollout_stack.start("api", CONFIG=new_config)
    ((new_worker_id,),) = rollout_stack.sql("select id from workers where models ? 'second'")
    with rollout_stack.client() as client:
        for _ in range(8):
            client.responses.create(model="second", input=models.script(tokens=3), background=True)
        until(rollout_stack.all_ended, timeout_s=60)

    assert rollout_stack.sql("select distinct status from responses") == [("completed",)]
    worker_ids_query = "select distinct worker_id from attempts where outcome = 'completed'"
    assert rollout_stack.sql(worker_ids_query) == [(new_worker_id,)]


def test_a_waiting_response_of_a_removed_model_fails_only_at_its_deadline_and_states_the_reason(
    rollout_stack: Stack, models: ModelServer, tmp_path: Path
) -> None:
    other_config = write_configuration(tmp_path / "other.toml", models, "other")
    rollout_stack.up("valkey", "api", "sweeper", QUEUE_TIMEOUT_S="6")
    with rollout_stack.client() as client:
        response_id = client.responses.create(model="first", input=models.script(tokens=3), background=True).id
        rollout_stack.stop("api")
        rollout_stack.start("api", CONFIG=other_config)
        rollout_stack.start("worker", CONFIG=other_config)
        assert client.responses.retrieve(response_id).status == "queued"
        response = wait_for_end(client, response_id, timeout_s=30)

    assert response.status == "failed"
    assert rollout_stack.sql("select 1 from attempts") == []
    assert response.error is not None
    assert "deadline, because no worker knows the model 'first'" in response.error.message

"""A change of the configured models fails no accepted response, in whatever order API and workers restart."""

from pathlib import Path

import pytest

from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer


def write_configuration(path: Path, models: ModelServer, *names: str) -> str:
    entry = f'base_url = "{models.base_url}"\nupstream_model = "scripted"\n'
    path.write_text("\n".join(f"[models.{name}]\n{entry}" for name in names))
    return str(path)


@pytest.fixture
def rollout_stack(postgres_url: str, template: str, models: ModelServer, tmp_path: Path) -> Stack:
    """A stack whose first configuration contains only the model `first`."""
    config = tmp_path / "first.toml"
    write_configuration(config, models, "first")
    with Stack(tmp_path / "home", new_database(postgres_url, template), config, models) as stack:
        yield stack


def test_responses_of_a_model_that_workers_do_not_know_yet_wait_for_their_restart(
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
        handed_back_query = "select 1 from attempts a join responses r on r.id = a.response_id where r.model = 'second'"
        until(lambda: len(rollout_stack.sql(handed_back_query)) >= 5)
        until(lambda: rollout_stack.sql("select count(*) from responses where status = 'completed'") == [(5,)])
        rollout_stack.stop("worker")
        rollout_stack.start("worker", CONFIG=new_config)
        until(rollout_stack.all_ended, timeout_s=30)
        statuses = [client.responses.retrieve(response_id).status for response_id in response_ids]

    assert statuses == ["completed"] * 10


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
        until(lambda: rollout_stack.sql("select 1 from attempts where outcome = 'waited'"))
        assert client.responses.retrieve(response_id).status in {"queued", "in_progress"}
        response = until(
            lambda: (found := client.responses.retrieve(response_id)).status == "failed" and found, timeout_s=30
        )

    assert response.error is not None
    assert "deadline" in response.error.message
    assert "The model 'first' is not in the configuration of the worker" in response.error.message

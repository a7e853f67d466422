"""A configuration file that cannot be used changes nothing in running processes, and the reason is logged."""

from pathlib import Path

import pytest

from local import ports
from tests.e2e.reload.reloading import PARTS, registered_workers, reload_models, start_parts, write_models
from tests.harness.health import get_health
from tests.harness.stack import Stack
from tests.harness.waiting import wait_for_end
from tests.model_server import ModelServer

SERVER = 'base_url = "http://127.0.0.1:1/v1"'
BROKEN_FILES = {
    "is not TOML": "[models.first",
    "models.first.zzz: This key is unknown.": f"[models.first]\n{SERVER}\nzzz = 1\n",
    "models.first: exactly one of base_url and base_urls must be set.": (
        f'[models.first]\n{SERVER}\nbase_urls = ["http://127.0.0.1:2/v1"]\n'
    ),
    "models: the file defines no model": "",
    "lanes: the lanes of tiers cannot change without a restart": f'[models.other]\n{SERVER}\n[lanes]\nflex = "slow"\n',
}


@pytest.fixture
def config(tmp_path: Path, models: ModelServer) -> Path:
    path = tmp_path / "backburner.toml"
    write_models(path, models, {"first": ""})
    return path


def test_a_broken_file_changes_nothing_and_is_reported_until_it_is_repaired(
    stack: Stack, models: ModelServer, config: Path
) -> None:
    health_ports = {"api": stack.port, "worker": ports.free_port(), "sweeper": ports.free_port()}
    start_parts(
        stack,
        API_PROCESSES="2",
        WORKER_HEALTH_PORT=str(health_ports["worker"]),
        SWEEPER_HEALTH_PORT=str(health_ports["sweeper"]),
    )
    worker_ids = registered_workers(stack)

    def read_health() -> set[tuple[int, str, str]]:
        """HTTP status, health and configuration state of all parts; ten further requests reach all processes of the API."""
        answers = [get_health(port) for port in [*health_ports.values(), *[stack.port] * 10]]
        return {(status, body["status"], body["configuration"]) for status, body in answers}

    with stack.client() as client:
        for reason, text in BROKEN_FILES.items():
            config.write_text(text)
            reload_models(stack, api_processes=2, is_valid=False)

            for name in PARTS:
                last_line = stack.log(name).rpartition('msg="configuration not reloaded"')[2].splitlines()[0]
                assert f"The configuration {config}" in last_line
                assert reason in last_line
            assert read_health() == {(200, "ok", "not reloaded")}
            assert [model.id for model in client.models.list()] == ["first"]
            response = client.responses.create(model="first", input=models.script(tokens=3), background=True)
            assert wait_for_end(client, response.id).status == "completed"
        config.unlink()
        reload_models(stack, api_processes=2, is_valid=False)
        assert "cannot be read: No such file or directory" in stack.log("api")

        write_models(config, models, {"first": "", "second": ""})
        reload_models(stack, api_processes=2)
        assert read_health() == {(200, "ok", "ok")}
        response = client.responses.create(model="second", input=models.script(tokens=3), background=True)
        assert wait_for_end(client, response.id).status == "completed"
    assert registered_workers(stack) == worker_ids

"""`backburner up` rejects unusable settings before it starts a process, and writes private files for other commands."""

import os
import socket
import subprocess
import time

import pytest

from core import errors
from core.settings import Settings
from local import stack
from local.home import write_private
from local.ports import listen_problem
from local.processes import lock


def wait_for_outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("variable", ["BACKBURNER_PORT", "BACKBURNER_FLOWER_PORT"])
def test_a_port_in_use_is_reported_in_one_line_with_its_variable(backburner, home, variable):
    with socket.create_server(("127.0.0.1", 0)) as server_socket:
        _, port = server_socket.getsockname()

        status, _, error = wait_for_outcome(backburner("up", **{variable: str(port)}))

    assert status == 1
    assert error == f"Error: Port {port} of 127.0.0.1 is in use by another program. Set {variable} to another port.\n"
    assert not home.postgres.exists()


def test_a_second_up_in_the_same_folder_is_rejected_with_the_pid_of_the_first(backburner, home):
    with lock.lock_folder(home):
        status, _, error = wait_for_outcome(backburner("up"))

    assert status == 1
    assert error == f"Error: `backburner up` is already running in {home.path} (pid {os.getpid()}).\n"


def test_a_configuration_error_is_reported_before_any_process_starts(backburner, tmp_path):
    config = tmp_path / "backburner.toml"
    config.write_text('[models."m"]\nbase_uri = "http://127.0.0.1:9/v1"\n')

    started_at = time.monotonic()
    status, _, error = wait_for_outcome(backburner("up", BACKBURNER_CONFIG=str(config)))

    assert status == 1
    assert error.startswith(f"Error: The configuration {config}: models.m.base_u")
    assert error.count("\n") == 1
    assert time.monotonic() - started_at < 10


def test_other_commands_read_the_same_settings_from_the_environment_file(home, monkeypatch):
    database_url = 'postgresql://me:it\'s # \\ "odd"@db/backburner?sslmode=require&x=1'
    original_settings = Settings(
        database_url=database_url, redis_url="redis://:a#b@h:1/0", port=9999, config="/a b/c.toml"
    )
    env_file_text = stack.format_env_file(stack.environment_variables(original_settings))
    write_private(home.stack_env, env_file_text)

    loaded_settings = Settings(_env_file=home.stack_env)

    assert loaded_settings.database_url == original_settings.database_url
    assert loaded_settings.redis_url == original_settings.redis_url
    assert (loaded_settings.port, loaded_settings.config) == (original_settings.port, original_settings.config)


def test_a_generated_secret_is_private_and_a_configured_secret_overrides_it(home):
    file = home.path / "secret_key"

    secret = stack._load_or_create_secret(None, file)

    assert len(secret.get_secret_value()) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert stack._load_or_create_secret(None, file) == secret
    configured_secret = Settings(secret_key="new, old").secret_key
    assert stack._load_or_create_secret(configured_secret, file) == configured_secret
    assert file.read_text().strip() == secret.get_secret_value()


def test_a_port_is_free_after_its_server_has_stopped():
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, port = server.getsockname()
        assert listen_problem("127.0.0.1", port) == "is in use by another program"

    assert listen_problem("127.0.0.1", port) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_rejected_with_the_name_of_the_variable(host):
    with pytest.raises(errors.BadSettings, match=r"^BACKBURNER_HOST: .* is not an address of this machine"):
        listen_problem(host, 8080)

"""`backburner up` refuses an unusable setup in one line before it starts anything."""

import os
import socket
import subprocess
import time

import pytest

from core import errors
from core.settings import Settings
from local import stack
from local.home import write_private
from local.ports import why_not
from local.processes import lock


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("variable", ["BACKBURNER_PORT", "BACKBURNER_FLOWER_PORT"])
def test_a_taken_port_is_one_line_that_names_it_and_the_variable(backburner, home, variable):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status, _, error = outcome(backburner("up", **{variable: str(port)}))

    assert status == 1
    assert error == f"Error: Port {port} of 127.0.0.1 is in use by another program. Set {variable} to another port.\n"
    assert not home.postgres.exists()


def test_a_second_up_in_the_same_folder_is_one_line_that_names_the_first(backburner, home):
    with lock.locked(home):
        status, _, error = outcome(backburner("up"))

    assert status == 1
    assert error == f"Error: `backburner up` is already running in {home.path} (pid {os.getpid()}).\n"


def test_a_mistake_in_the_configuration_shows_before_anything_is_started(backburner, tmp_path):
    config = tmp_path / "backburner.toml"
    config.write_text('[models."m"]\nbase_uri = "http://127.0.0.1:9/v1"\n')

    started_at = time.monotonic()
    status, _, error = outcome(backburner("up", BACKBURNER_CONFIG=str(config)))

    assert status == 1
    assert error.startswith(f"Error: The configuration {config}: models.m.base_u")
    assert error.count("\n") == 1
    assert time.monotonic() - started_at < 10


def test_what_it_leaves_for_other_commands_is_read_back_as_it_was(home, monkeypatch):
    awkward = 'postgresql://me:it\'s # \\ "odd"@db/backburner?sslmode=require&x=1'
    made = Settings(database_url=awkward, redis_url="redis://:a#b@h:1/0", port=9999, config="/a b/c.toml")
    lines = stack.lines(stack.exported(made))
    write_private(home.stack_env, lines)

    read = Settings(_env_file=home.stack_env)

    assert read.database_url == made.database_url
    assert read.redis_url == made.redis_url
    assert (read.port, read.config) == (made.port, made.config)


def test_a_secret_that_was_made_is_kept_for_its_owner_only_and_a_given_one_wins(home):
    file = home.path / "secret_key"

    made = stack._stored_secret(None, file)

    assert len(made.get_secret_value()) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert stack._stored_secret(None, file) == made
    given = Settings(secret_key="new, old").secret_key
    assert stack._stored_secret(given, file) == given
    assert file.read_text().strip() == made.get_secret_value()


def test_a_port_is_free_once_its_server_is_gone():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert why_not("127.0.0.1", port) == "is in use by another program"

    assert why_not("127.0.0.1", port) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused_by_the_name_of_its_variable(host):
    with pytest.raises(errors.BadSettings, match=r"^BACKBURNER_HOST: .* is not an address of this machine"):
        why_not(host, 8080)

"""`backburner doctor` reports problems with their causes or solutions, and without passwords."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest

from local import web
from local.findings import mask_password
from tests.model_server import running


@contextlib.contextmanager
def answer_once(reply: bytes) -> Iterator[str]:
    """Yield the URL of a server that sends these bytes to its first client and closes the connection."""

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/models"
        thread.join()


def run_doctor(backburner, **variables: str) -> tuple[int, str]:
    """Run the command; return the exit status and the output to both standard streams."""
    result = backburner.run("doctor", **variables)
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout + result.stderr


def test_a_misspelt_variable_is_reported_with_the_most_similar_setting(backburner):
    status, output = run_doctor(backburner, BACKBURNER_DATABSE_URL="x")

    assert status == 1
    assert "BACKBURNER_DATABSE_URL is not a setting" in output
    assert "Did you mean BACKBURNER_DATABASE_URL?" in output


def test_unreachable_servers_are_reported_without_their_passwords(backburner):
    status, output = run_doctor(
        backburner,
        BACKBURNER_DATABASE_URL="postgresql://me:hush1@127.0.0.1:1/x?password=hush2",
        BACKBURNER_REDIS_URL="redis://:hush3@127.0.0.1:1/0",
    )

    assert status == 1
    assert "FAIL  postgres" in output
    assert "FAIL  redis" in output
    assert "hush" not in output


def test_a_password_with_an_at_sign_is_masked_completely():
    assert mask_password("redis://me:a@b:c@host:1/0") == "redis://me:***@host:1/0"


def test_the_report_distinguishes_a_free_port_from_a_port_in_use(backburner):
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, port = server.getsockname()
        _, output_if_taken = run_doctor(backburner, BACKBURNER_PORT=str(port))
    _, output_if_free = run_doctor(backburner, BACKBURNER_PORT=str(port))

    assert f"port {port} is in use by another program" in output_if_taken
    assert f"not running; port {port} is free" in output_if_free


def test_a_model_whose_key_variable_is_not_set_is_reported_with_the_variable(backburner, tmp_path):
    config = tmp_path / "backburner.toml"
    config.write_text('[models.hosted]\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "NO_SUCH_KEY"\n')

    _, output = run_doctor(backburner, BACKBURNER_CONFIG=str(config))

    assert "FAIL  model         hosted: the variable NO_SUCH_KEY, which api_key_env names, is not set" in output


@pytest.mark.parametrize("reply", [b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b""])
def test_a_model_server_that_does_not_speak_http_is_reported(reply: bytes):
    with answer_once(reply) as url:
        assert web.status(url) is None


def test_a_request_with_a_key_follows_no_redirect():
    with answer_once(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as url:
        assert web.status(url, key="k") == 302


def test_a_base_url_without_the_endpoint_of_the_api_is_reported(backburner, tmp_path):
    config = tmp_path / "backburner.toml"
    with running() as server:
        outputs = []
        for base_url in (server.base_url, server.base_url.removesuffix("/v1")):
            config.write_text(f'[models.m]\nbase_url = "{base_url}"\n')
            outputs.append(run_doctor(backburner, BACKBURNER_CONFIG=str(config))[1])

    assert f"ok    model         m answers at {server.base_url}\n" in outputs[0]
    assert "answers 404 to requests for models and for responses" in outputs[1]
    assert "Correct base_url, which usually ends with /v1." in outputs[1]


def test_without_a_configuration_the_report_names_the_file_and_the_command_that_needs_none(backburner, tmp_path):
    config = tmp_path / "backburner.toml"
    config.write_text("")

    _, output = run_doctor(backburner, BACKBURNER_CONFIG=str(config))

    assert "FAIL  configuration defines no model" in output
    assert "or start `backburner up`" in output


def test_an_invalid_setting_is_reported_in_one_line(backburner):
    status, output = run_doctor(backburner, BACKBURNER_PORT="many")

    assert status == 1
    assert "BACKBURNER_PORT: Input should be a valid integer" in output


def test_a_model_with_an_open_circuit_is_reported_with_the_cause(backburner, database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into circuits (model, failures, open_until, cause) values ('m', 3, now(), 'Nobody answers.')"
        )
    status, output = run_doctor(backburner, BACKBURNER_DATABASE_URL=database_url)

    assert status == 1
    assert "FAIL  circuit       m: its servers were unavailable 3 times in a row; Nobody answers." in output

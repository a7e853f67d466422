"""`backburner doctor` names each problem and its solution, and shows no secrets."""

import socket

import psycopg

from local.doctor import masked


def ask(backburner, **variables: str) -> tuple[int, str]:
    """Run the command; return the exit status and all output."""
    done = backburner.run("doctor", **variables)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(backburner):
    status, said = ask(backburner, BACKBURNER_DATABSE_URL="x")

    assert status == 1
    assert "BACKBURNER_DATABSE_URL is not a setting" in said
    assert "Did you mean BACKBURNER_DATABASE_URL?" in said


def test_servers_that_are_away_are_named_without_their_passwords(backburner):
    status, said = ask(
        backburner,
        BACKBURNER_DATABASE_URL="postgresql://me:hush1@127.0.0.1:1/x?password=hush2",
        BACKBURNER_REDIS_URL="redis://:hush3@127.0.0.1:1/0",
    )

    assert status == 1
    assert "FAIL  postgres" in said
    assert "FAIL  redis" in said
    assert "hush" not in said


def test_a_password_with_an_at_sign_is_masked_whole():
    assert masked("redis://me:a@b:c@host:1/0") == "redis://me:***@host:1/0"


def test_a_port_taken_by_another_program_is_told_from_one_that_is_free(backburner):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, taken = ask(backburner, BACKBURNER_PORT=str(port))
    _, free = ask(backburner, BACKBURNER_PORT=str(port))

    assert f"port {port} is in use by another program" in taken
    assert f"not running; port {port} is free" in free


def test_a_setting_that_cannot_be_read_is_one_finding(backburner):
    status, said = ask(backburner, BACKBURNER_PORT="many")

    assert status == 1
    assert "BACKBURNER_PORT: Input should be a valid integer" in said


def test_a_model_whose_servers_were_found_away_is_named_with_the_cause(backburner, database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into circuits (model, failures, open_until, cause) values ('m', 3, now(), 'Nobody answers.')"
        )
    status, said = ask(backburner, BACKBURNER_DATABASE_URL=database_url)

    assert status == 1
    assert "FAIL  circuit       m: its servers were unavailable 3 times in a row; Nobody answers." in said

"""The packaged Postgres keeps committed data, can be opened only by its owner, and rejects unusable data folders."""

import os
import signal
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from core import errors
from local.home import Home
from local.processes import child
from local.processes.supervisor import Supervisor
from local.servers import postgres
from local.servers.postgres import Postgres
from tests.harness.waiting import until


def run_query(url: str, statement: str) -> tuple:
    with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else ()


def test_committed_data_exists_after_a_restart(home):
    with postgres.running(home.path) as url:
        run_query(url, "create table numbers as select 42 as answer")
    with postgres.running(home.path) as url:
        assert run_query(url, "select answer from numbers") == (42,)
        assert run_query(url, "show fsync") == ("on",)


def test_a_killed_server_is_restarted_with_the_committed_data(home):
    server = Postgres(home)
    supervisor = Supervisor(home, print_line=lambda _line: None)
    try:
        supervisor.start(server.prepare())
        run_query(server.url, "create table numbers as select 42 as answer")
        with psycopg.connect(server.url):  # an open session, whose process must exit after the crash
            first_pid = int(home.pid_file("postgres").read_text())
            os.kill(first_pid, signal.SIGKILL)

            def read_answer():
                supervisor.tick()
                try:
                    return run_query(server.url, "select answer from numbers")
                except psycopg.OperationalError:
                    return None

            assert until(read_answer, timeout_s=20) == (42,)
        assert int(home.pid_file("postgres").read_text()) != first_pid
    finally:
        supervisor.stop()


def test_only_the_owner_can_open_the_socket_and_no_port_is_open(home):
    with postgres.running(home.path) as url:
        socket_folder = Path(unquote(url.partition("host=")[2]))

        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert run_query(url, "show listen_addresses") == ("",)


def test_a_data_folder_with_a_long_path_works(tmp_path, monkeypatch):
    deep_folder = tmp_path / ("long" * 15) / ("and long" * 7)
    with tempfile.TemporaryDirectory() as short_folder:
        monkeypatch.setattr(tempfile, "tempdir", short_folder)

        with postgres.running(deep_folder) as url:
            assert str(deep_folder) not in unquote(url)
            assert run_query(url, "select 1") == (1,)


def test_data_of_another_version_is_rejected_with_instructions(home):
    home.postgres.mkdir()
    (home.postgres / "PG_VERSION").write_text("16\n")

    with pytest.raises(errors.BadSettings) as error:
        Postgres(home).prepare()

    assert str(error.value) == (
        f"{home.postgres} contains data of Postgres 16; this program includes Postgres 18. "
        "Move the folder elsewhere to start with an empty database; to keep the data, dump it with Postgres 16 first."
    )


def test_an_interrupted_initialization_is_repeated_at_the_next_start(home):
    partial_folder = home.path / "postgres.new"
    partial_folder.mkdir()
    (partial_folder / "PG_VERSION").write_text("18\n")

    with postgres.running(home.path) as url:
        assert run_query(url, "select 1") == (1,)


def test_a_data_folder_with_unrelated_files_is_rejected(home):
    home.postgres.mkdir()
    (home.postgres / "letter.txt").write_text("Dear Ada, ...")

    with pytest.raises(errors.BadSettings, match="is not empty and contains no Postgres data"):
        Postgres(home).prepare()


def test_a_second_server_on_the_same_data_fails_with_its_log(home):
    with postgres.running(home.path), pytest.raises(child.PartFailure, match="lock file"):
        part = Postgres(Home.at(home.path)).prepare()
        second_server = child.Child(part, home)
        second_server.wait_for_success()

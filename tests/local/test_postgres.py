"""The packaged Postgres starts, restarts, and is private to its owner."""

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


def ask(url: str, statement: str) -> tuple:
    with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else ()


def test_what_was_committed_is_there_at_the_next_start(home):
    with postgres.running(home.path) as url:
        ask(url, "create table kept as select 42 as answer")
    with postgres.running(home.path) as url:
        assert ask(url, "select answer from kept") == (42,)
        assert ask(url, "show fsync") == ("on",)


def test_it_comes_back_after_kill_9_with_what_was_committed(home):
    server = Postgres(home)
    supervisor = Supervisor(home, say=lambda _line: None)
    try:
        supervisor.start(server.prepare())
        ask(server.url, "create table kept as select 42 as answer")
        with psycopg.connect(server.url):  # a backend that must notice the crash
            first = int(home.pid_file("postgres").read_text())
            os.kill(first, signal.SIGKILL)

            def answers():
                supervisor.tick()
                try:
                    return ask(server.url, "select answer from kept")
                except psycopg.OperationalError:
                    return None

            assert until(answers, within_s=20) == (42,)
        assert int(home.pid_file("postgres").read_text()) != first
    finally:
        supervisor.stop()


def test_only_its_owner_gets_to_its_socket_and_no_port_is_open(home):
    with postgres.running(home.path) as url:
        sockets = Path(unquote(url.partition("host=")[2]))

        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert ask(url, "show listen_addresses") == ("",)


def test_a_long_path_of_the_data_folder_is_no_hindrance(tmp_path, monkeypatch):
    deep = tmp_path / ("long" * 15) / ("and long" * 7)
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)

        with postgres.running(deep) as url:
            assert str(deep) not in unquote(url)
            assert ask(url, "select 1") == (1,)


def test_data_of_another_version_is_refused_with_what_to_do(home):
    home.postgres.mkdir()
    (home.postgres / "PG_VERSION").write_text("16\n")

    with pytest.raises(errors.BadSettings) as refused:
        Postgres(home).prepare()

    assert str(refused.value) == (
        f"{home.postgres} contains data of Postgres 16; this program includes Postgres 18. "
        "Dump it with Postgres 16, or move the folder away to start with an empty database."
    )


def test_a_start_that_was_cut_off_while_making_the_data_is_made_good(home):
    unfinished = home.path / "postgres.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")

    with postgres.running(home.path) as url:
        assert ask(url, "select 1") == (1,)


def test_a_folder_with_something_else_in_it_is_refused(home):
    home.postgres.mkdir()
    (home.postgres / "letter.txt").write_text("dear ...")

    with pytest.raises(errors.BadSettings, match="is not empty and contains no Postgres data"):
        Postgres(home).prepare()


def test_a_second_server_on_the_same_data_fails_with_its_log(home):
    with postgres.running(home.path), pytest.raises(child.PartFailed, match="lock file"):
        part = Postgres(Home.at(home.path)).prepare()
        refused = child.Child(part, home)
        refused.wait_until_done()

"""The packaged Postgres keeps committed data, can be opened only by its owner, and rejects unusable data folders."""

import contextlib
import ctypes
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import psutil
import psycopg
import pytest

from core import errors
from local.home import Home
from local.processes import child, leftovers
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


ORPHANING_PROGRAM = """
import signal
from pathlib import Path
from local.home import Home
from local.processes.supervisor import Supervisor
from local.servers.postgres import Postgres
Supervisor(home := Home.at(Path(HOME)), print_line=print).start(Postgres(home).prepare())
print("started", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def unreaped_children() -> Iterator[None]:
    """Make this process the new parent of its orphaned descendants, which remain zombies until the end of the block."""
    pr_set_child_subreaper = 36
    libc = ctypes.CDLL(None)
    libc.prctl(pr_set_child_subreaper, 1)
    earlier_children = psutil.Process().children()
    try:
        yield
    finally:
        libc.prctl(pr_set_child_subreaper, 0)
        for process in psutil.Process().children():
            if process not in earlier_children:
                process.kill()
                process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_a_killed_server_whose_parent_was_killed_can_be_started_again_at_once(home):
    program = f"HOME = {str(home.path)!r}\n{ORPHANING_PROGRAM}"
    with unreaped_children():
        for number in range(4):
            assert leftovers.stop_leftovers(home) == []
            with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
                assert parent.stdout
                assert parent.stdout.readline() == "started\n"
                server = psutil.Process(int(home.pid_file("postgres").read_text()))
                run_query(Postgres(home).url, f"create table numbers_{number} ()")
                for process in (parent, server) if number % 2 else (server, parent):
                    process.kill()
            until(lambda server=server: server.status() == psutil.STATUS_ZOMBIE)

        with postgres.running(home.path) as url:
            assert run_query(url, "select count(*) from pg_tables where tablename ~ '^numbers_'") == (4,)


def test_the_lock_of_a_process_id_that_another_program_has_is_replaced(home):
    with postgres.running(home.path):
        _, *other_lines = (home.postgres / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen(["sleep", "1000"], user=Postgres(home)._user) as other_program:
        (home.postgres / "postmaster.pid").write_text("\n".join([str(other_program.pid), *other_lines]))

        with postgres.running(home.path) as url:
            assert run_query(url, "select 1") == (1,)
        other_program.kill()


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

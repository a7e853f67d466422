"""`backburner up` and `backburner demo` as a new user sees them, with single processes and all of them killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from local import ports, web
from local.home import Home
from tests.harness.waiting import until
from tests.local.command_line import CommandLine

PARTS = {"postgres", "valkey", "model", "api", "worker", "worker-2", "sweeper", "flower"}


class Up:
    """A running `backburner up --workers 2`."""

    def __init__(self, backburner: CommandLine) -> None:
        self.backburner = backburner
        self.home = backburner.home
        self.port = ports.free()
        self.process = backburner(
            "up", "--workers=2", BACKBURNER_PORT=str(self.port), BACKBURNER_FLOWER_PORT=str(ports.free())
        )
        assert self.process.stdout
        self.said = []
        while not self.said or "Press Ctrl-C to stop" not in self.said[-1]:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.said.append(line)

    def pids(self) -> dict[str, int]:
        found = {}
        for file in self.home.run.glob("*.pid"):
            with contextlib.suppress(FileNotFoundError):  # the process has died meanwhile
                found[file.stem] = int(file.read_text())
        return found

    def answer(self, order: str) -> dict:
        """Create a response with this input; return it when it has ended."""
        url = f"http://127.0.0.1:{self.port}/v1/responses"
        key = (self.home.path / "api_key").read_text().strip()
        made = web.call("POST", url, key=key, body={"model": "smollm2-135m", "input": order, "background": True})

        def finished():
            found = web.call("GET", f"{url}/{made['id']}", key=key)
            return found if found["status"] not in {"queued", "in_progress"} else None

        return until(finished, within_s=120)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=150)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[Up]:
    backburner = CommandLine(Home.at(tmp_path_factory.mktemp("up")))
    yield Up(backburner)
    backburner.stop()


def test_every_killed_part_is_restarted_and_the_stack_works_again(up):
    before = up.pids()
    assert before.keys() == PARTS

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    until(lambda: up.pids().keys() == PARTS and not set(up.pids().values()) & set(before.values()), within_s=30)
    until(lambda: up.backburner.run("doctor").returncode == 0, within_s=30, every_s=0.5)
    assert up.answer("Say hello.")["status"] == "completed"


def test_demo_uses_the_stack_that_runs_in_its_folder_already(up):
    status, said, error = outcome(up.backburner("demo"))

    assert (status, error) == (0, "")
    assert f"`backburner up` is already running in {up.home.path}" in said
    assert "queued → in_progress → completed" in said


def test_after_kill_9_the_next_up_has_the_same_data_and_key_and_ctrl_c_stops_it(backburner):
    first = Up(backburner)
    answer = first.answer("Say hello.")
    parts = first.pids()
    first.process.kill()
    first.process.communicate()

    again = Up(backburner)

    assert not any(is_alive(pid) for pid in parts.values())
    key = (again.home.path / "api_key").read_text().strip()
    url = f"http://127.0.0.1:{again.port}/v1/responses/{answer['id']}"
    assert web.call("GET", url, key=key) == answer

    parts = again.pids()
    again.process.send_signal(signal.SIGINT)
    status, said, _ = outcome(again.process)

    assert status == 0
    assert said.endswith("Stopped.\n")
    assert not any(is_alive(pid) for pid in parts.values())
    assert not list(again.home.run.glob("*.pid"))
    assert not again.home.stack_env.exists()


def test_demo_brings_its_own_stack_and_leaves_nothing_running(backburner, home):
    status, said, error = outcome(backburner("demo"))

    assert (status, error) == (0, "")
    assert "queued → in_progress → completed" in said
    assert "cancel → cancelled" in said
    assert not list(home.run.glob("*.pid"))


def test_a_part_that_does_not_come_up_is_one_message_and_nothing_stays(backburner, home):
    status, _, error = outcome(
        backburner(
            "up", BACKBURNER_DATABASE_URL="postgresql://me:secret@127.0.0.1:1/x", BACKBURNER_PORT=str(ports.free())
        )
    )

    assert status == 1
    assert error.startswith("Error: migrate failed (status 1).")
    assert "secret" not in error
    assert "Traceback" not in error
    assert not list(home.run.glob("*.pid"))

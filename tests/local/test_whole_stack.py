"""`backburner up` and `backburner demo` as a user runs them, also after processes were killed."""

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

PART_NAMES = {"postgres", "valkey", "model", "api", "worker", "worker-2", "sweeper", "flower"}


class UpCommand:
    """A running `backburner up --workers 2`."""

    def __init__(self, backburner: CommandLine) -> None:
        self.backburner = backburner
        self.home = backburner.home
        self.port = ports.free_port()
        self.process = backburner(
            "up", "--workers=2", BACKBURNER_PORT=str(self.port), BACKBURNER_FLOWER_PORT=str(ports.free_port())
        )
        assert self.process.stdout
        self.output_lines = []
        while not self.output_lines or "Press Ctrl-C to stop" not in self.output_lines[-1]:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.output_lines.append(line)

    def read_pids(self) -> dict[str, int]:
        """Return the process IDs of the parts, by name."""
        pids = {}
        for file in self.home.run.glob("*.pid"):
            with contextlib.suppress(FileNotFoundError):  # the process has just ended
                pids[file.stem] = int(file.read_text())
        return pids

    def wait_for_answer(self, prompt: str) -> dict:
        """Create a response with the prompt as input, wait for its end, and return it."""
        url = f"http://127.0.0.1:{self.port}/v1/responses"
        key = (self.home.path / "api_key").read_text().strip()
        response = web.call("POST", url, key=key, body={"model": "smollm2-135m", "input": prompt, "background": True})

        def read_final_response():
            document = web.call("GET", f"{url}/{response['id']}", key=key)
            return document if document["status"] not in {"queued", "in_progress"} else None

        return until(read_final_response, timeout_s=120)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for_outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=150)
    return process.returncode, stdout, stderr


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[UpCommand]:
    backburner = CommandLine(Home.at(tmp_path_factory.mktemp("up")))
    yield UpCommand(backburner)
    backburner.stop()


def test_the_stack_works_again_after_all_parts_were_killed(up):
    old_pids = up.read_pids()
    assert old_pids.keys() == PART_NAMES

    for pid in old_pids.values():
        os.kill(pid, signal.SIGKILL)

    until(
        lambda: up.read_pids().keys() == PART_NAMES and not set(up.read_pids().values()) & set(old_pids.values()),
        timeout_s=30,
    )
    until(lambda: up.backburner.run("doctor").returncode == 0, timeout_s=30, first_pause_s=0.5)
    assert up.wait_for_answer("Say hello.")["status"] == "completed"


def test_the_doctor_reports_an_api_server_that_did_not_reload_its_configuration(up):
    config = up.home.run / "backburner.toml"
    valid_text = config.read_text()
    api_pid = up.read_pids()["api"]

    def doctor_reports(line: str) -> bool:
        return line in up.backburner.run("doctor").stdout

    config.write_text("[models")
    os.kill(api_pid, signal.SIGHUP)
    until(lambda: doctor_reports("with the configuration before the last SIGHUP"), timeout_s=30, first_pause_s=0.5)
    config.write_text(valid_text)
    assert doctor_reports("FAIL  api")
    os.kill(api_pid, signal.SIGHUP)
    until(lambda: doctor_reports("ok    api           answers at "), timeout_s=30, first_pause_s=0.5)


def test_demo_uses_the_stack_that_is_already_running_in_its_folder(up):
    status, output, error = wait_for_outcome(up.backburner("demo"))

    assert (status, error) == (0, "")
    assert f"`backburner up` is already running in {up.home.path}" in output
    assert "queued → in_progress → completed" in output


def test_up_after_kill_9_has_the_same_data_and_stops_at_ctrl_c(backburner):
    first_stack = UpCommand(backburner)
    answer = first_stack.wait_for_answer("Say hello.")
    first_pids = first_stack.read_pids()
    first_stack.process.kill()
    first_stack.process.communicate()

    second_stack = UpCommand(backburner)

    assert not any(is_alive(pid) for pid in first_pids.values())
    key = (second_stack.home.path / "api_key").read_text().strip()
    url = f"http://127.0.0.1:{second_stack.port}/v1/responses/{answer['id']}"
    assert web.call("GET", url, key=key) == answer

    second_pids = second_stack.read_pids()
    second_stack.process.send_signal(signal.SIGINT)
    status, output, _ = wait_for_outcome(second_stack.process)

    assert status == 0
    assert output.endswith("Stopped.\n")
    assert not any(is_alive(pid) for pid in second_pids.values())
    assert not list(second_stack.home.run.glob("*.pid"))
    assert not second_stack.home.stack_env.exists()


def test_demo_starts_a_stack_and_stops_it_afterwards(backburner, home):
    status, output, error = wait_for_outcome(backburner("demo"))

    assert (status, error) == (0, "")
    assert "queued → in_progress → completed" in output
    assert "cancel → cancelled" in output
    assert not list(home.run.glob("*.pid"))


def test_a_part_that_fails_to_start_is_reported_and_all_parts_are_stopped(backburner, home, tmp_path):
    config = tmp_path / "backburner.toml"
    config.write_text(
        '[models.absent]\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[models.hosted]\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "NO_SUCH_KEY"\n'
    )

    status, output, error = wait_for_outcome(
        backburner(
            "up",
            BACKBURNER_DATABASE_URL="postgresql://me:secret@127.0.0.1:1/x",
            BACKBURNER_PORT=str(ports.free_port()),
            BACKBURNER_CONFIG=str(config),
        )
    )

    assert status == 1
    assert "Warning: model absent: http://127.0.0.1:9/v1 does not answer. Start its server" in output
    assert "Warning: model hosted: the variable NO_SUCH_KEY, which api_key_env names, is not set." in output
    assert error.startswith("Error: migrate failed (status 1).")
    assert "secret" not in error
    assert "Traceback" not in error
    assert not list(home.run.glob("*.pid"))

"""A forked process has the same environment, output and exit status as a process with a new interpreter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core import VERSION
from local.home import Home
from local.processes.child import Child, Part
from tests.harness.forked import ROOT, ForkedChild, run_command
from tests.harness.stack import Stack
from tests.harness.waiting import until


def create_part(*arguments: str, **env: str) -> Part:
    argv = [sys.executable, "-m", "cli.main", *arguments]
    return Part(name="part", argv=argv, ready=lambda _pid: True, env=env, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "end", "message"),
    [
        (["--version"], "status 0", f"backburner, version {VERSION}\n"),
        (["no-such-command"], "status 2", "No such command 'no-such-command'."),
        (["doctor"], "status 1", "Did you mean BACKBURNER_DATABASE_URL?"),
    ],
)
def test_a_forked_command_has_the_output_and_the_status_of_a_new_process(
    tmp_path: Path, arguments: list[str], end: str, message: str
) -> None:
    outputs = []
    for child_class in (ForkedChild, Child):
        home = Home.at(tmp_path / child_class.__name__)
        child = child_class(
            create_part(*arguments, BACKBURNER_DATABSE_URL="x", BACKBURNER_HOME=str(tmp_path / "home")), home
        )
        until(child.ended, timeout_s=30)
        assert child.ended() == end
        outputs.append(home.log_file("part").read_text())

    env = {"BACKBURNER_DATABSE_URL": "x", "BACKBURNER_HOME": str(tmp_path / "home")}
    result = run_command(arguments, env)

    assert message in outputs[0]
    assert outputs[0] == outputs[1] == result.stdout + result.stderr
    assert end == f"status {result.returncode}"


def test_a_forked_process_has_its_own_session_and_reports_the_signal_that_killed_it(stack: Stack) -> None:
    sweeper = stack.start("sweeper")

    assert os.getsid(sweeper.pid) == sweeper.pid
    stack.freeze("sweeper")
    until(lambda: psutil.Process(sweeper.pid).status() == psutil.STATUS_STOPPED)
    stack.kill("sweeper")

    assert sweeper.ended() == "killed by SIGKILL"


def test_a_forked_process_ends_with_the_process_that_started_it(stack: Stack) -> None:
    script = (
        "import sys, time\n"
        "from tests.harness.forked import ForkedChild\n"
        "from tests.harness.test_forked import create_part\n"
        "from local.home import Home\n"
        "from pathlib import Path\n"
        f"print(ForkedChild(create_part('sweeper'), Home.at(Path({str(stack.home.path)!r}))).pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    env = os.environ | stack._env  # noqa: TID251
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=env, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        sweeper = psutil.Process(int(parent.stdout.readline()))
        assert sweeper.is_running()
        parent.send_signal(signal.SIGKILL)

    until(lambda: not sweeper.is_running() or sweeper.status() == psutil.STATUS_ZOMBIE)

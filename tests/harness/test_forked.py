"""A forked process gets the same environment and ends in the same way as a process with a new interpreter."""

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
from tests.harness.forked import ROOT, ForkedChild, run
from tests.harness.stack import Stack
from tests.harness.waiting import until


def part(*words: str, **env: str) -> Part:
    argv = [sys.executable, "-m", "cli.main", *words]
    return Part(name="part", argv=argv, ready=lambda _pid: True, env=env, cwd=ROOT)


@pytest.mark.parametrize(
    ("words", "how", "says"),
    [
        (["--version"], "status 0", f"backburner, version {VERSION}\n"),
        (["no-such-command"], "status 2", "No such command 'no-such-command'."),
        (["doctor"], "status 1", "Did you mean BACKBURNER_DATABASE_URL?"),
    ],
)
def test_a_forked_part_reads_its_command_line_and_environment_and_ends_as_a_new_process_does(
    tmp_path: Path, words: list[str], how: str, says: str
) -> None:
    said = []
    for kind in (ForkedChild, Child):
        home = Home.at(tmp_path / kind.__name__)
        child = kind(part(*words, BACKBURNER_DATABSE_URL="x", BACKBURNER_HOME=str(tmp_path / "home")), home)
        until(child.ended, within_s=30)
        assert child.ended() == how
        said.append(home.log_file("part").read_text())

    env = {"BACKBURNER_DATABSE_URL": "x", "BACKBURNER_HOME": str(tmp_path / "home")}
    done = run(words, env)

    assert says in said[0]
    assert said[0] == said[1] == done.stdout + done.stderr
    assert how == f"status {done.returncode}"


def test_a_forked_part_has_a_session_of_its_own_and_says_which_signal_killed_it(stack: Stack) -> None:
    sweeper = stack.start("sweeper")

    assert os.getsid(sweeper.pid) == sweeper.pid
    stack.freeze("sweeper")
    until(lambda: psutil.Process(sweeper.pid).status() == psutil.STATUS_STOPPED)
    stack.kill("sweeper")

    assert sweeper.ended() == "killed by SIGKILL"


def test_forked_parts_end_with_the_process_that_started_them(stack: Stack) -> None:
    script = (
        "import sys, time\n"
        "from tests.harness.forked import ForkedChild\n"
        "from tests.harness.test_forked import part\n"
        "from local.home import Home\n"
        "from pathlib import Path\n"
        f"print(ForkedChild(part('sweeper'), Home.at(Path({str(stack.home.path)!r}))).pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    env = os.environ | stack._env  # noqa: TID251
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=env, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        sweeper = psutil.Process(int(parent.stdout.readline()))
        assert sweeper.is_running()
        parent.send_signal(signal.SIGKILL)

    until(lambda: not sweeper.is_running() or sweeper.status() == psutil.STATUS_ZOMBIE)

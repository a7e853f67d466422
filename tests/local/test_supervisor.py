"""The supervisor keeps its promises for processes that die, hang, ignore signals or never become ready."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.home import Home
from local.processes import child, environment, leftovers
from local.processes.child import Part
from local.processes.supervisor import Supervisor
from tests.harness.waiting import until


class Kept(Supervisor):
    """A supervisor that records its output."""

    def __init__(self, home: Home) -> None:
        self.said: list[str] = []
        super().__init__(home, say=self.said.append)


@pytest.fixture
def supervisor(home: Home) -> Iterator[Kept]:
    made = Kept(home)
    yield made
    made.stop(hurry=lambda: True)


def sleeper(name: str, **more) -> Part:
    return Part(**{"name": name, "argv": ["sleep", "1000"], "ready": lambda _pid: True} | more)


def shell(name: str, script: str, **more) -> Part:
    return Part(**{"name": name, "argv": ["sh", "-c", script], "ready": lambda _pid: True} | more)


def pid_of(home: Home, name: str) -> int:
    """The process ID in the pid file; 0 if there is none."""
    file = home.pid_file(name)
    return int(file.read_text() or 0) if file.exists() else 0


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_killed_part_is_restarted(supervisor, home):
    supervisor.start(sleeper("api"))
    first = pid_of(home, "api")

    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.tick() or pid_of(home, "api") not in {0, first})

    assert is_alive(pid_of(home, "api"))
    assert supervisor.said == [f"api ended (killed by SIGKILL); restarting in 0.2 s. Log: {home.log_file('api')}"]


def test_a_part_that_keeps_dying_waits_longer_each_time_and_holds_up_no_other(supervisor, home):
    supervisor.start(sleeper("api"), shell("worker", "exit 3"))
    first = pid_of(home, "api")

    until(lambda: supervisor.tick() or len(supervisor.said) == 3)
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.tick() or pid_of(home, "api") not in {0, first}, within_s=2)

    waits = [line.split("restarting in ")[1].split(" s.")[0] for line in supervisor.said if "worker" in line]
    assert waits[:3] == ["0.2", "0.4", "0.8"]


def test_parts_stop_in_the_reverse_order_of_their_stages(supervisor, tmp_path):
    order = tmp_path / "order"
    ready = tmp_path / "ready"
    ready.mkdir()

    def part(name: str, stage: int) -> Part:
        script = f"trap 'echo {name} >> {order}; exit' TERM; touch {ready / name}; while :; do sleep 0.02; done"
        return shell(name, script, stage=stage, ready=lambda _pid: (ready / name).exists())

    supervisor.start(part("postgres", 0), part("valkey", 1))
    supervisor.start(part("api", 2))
    supervisor.stop()

    assert order.read_text().split() == ["api", "valkey", "postgres"]


def test_a_part_that_ignores_its_stop_signal_is_killed_with_all_it_started(supervisor, home, tmp_path):
    inner = tmp_path / "inner"
    script = f"trap '' TERM; sleep 1000 & echo $! > {inner}; while :; do sleep 1; done"
    supervisor.start(shell("worker", script, grace_s=0.3, ready=lambda _pid: inner.exists() and inner.read_text()))
    pids = {pid_of(home, "worker"), int(inner.read_text())}

    supervisor.stop()

    until(lambda: not any(is_alive(pid) for pid in pids))
    assert not home.pid_file("worker").exists()


def test_what_a_dead_part_started_dies_before_it_is_started_again(supervisor, home, tmp_path):
    inner = tmp_path / "inner"
    script = f"sleep 1000 & echo $! > {inner}; wait"
    supervisor.start(shell("api", script, ready=lambda _pid: inner.exists() and inner.read_text()))
    first, orphan = pid_of(home, "api"), int(inner.read_text())

    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.tick() or pid_of(home, "api") not in {0, first})

    assert not is_alive(orphan)


def test_a_part_that_ends_at_start_is_reported_with_the_end_of_its_log(supervisor):
    with pytest.raises(child.PartFailed, match=r"(?s)^api ended during startup \(status 7\)\. .*no such thing"):
        supervisor.start(shell("api", "echo no such thing; exit 7", ready=lambda _pid: False))


def test_a_part_that_is_never_ready_is_reported(supervisor):
    with pytest.raises(child.PartFailed, match=r"^api was not ready within 0 s\."):
        supervisor.start(sleeper("api", ready=lambda _pid: False, ready_within_s=0.2))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_parts_end_with_a_killed_supervisor(home):
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from local.processes.child import Part\n"
        "from local.home import Home\n"
        "from local.processes.supervisor import Supervisor\n"
        f"home = Home.at(Path({str(home.path)!r}))\n"
        "part = Part(name='api', argv=['sleep', '1000'], ready=lambda pid: True)\n"
        "Supervisor(home, say=print).start(part)\n"
        "print('up', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "up\n"
        pid = pid_of(home, "api")
        parent.kill()

    until(lambda: not is_alive(pid))


def test_leftovers_of_a_killed_run_are_ended_and_strangers_are_not(home):
    ours = {**environment.inherited(), "BACKBURNER_HOME": str(home.path)}
    theirs = {**environment.inherited(), "BACKBURNER_HOME": "/somewhere/else"}
    with (
        subprocess.Popen(["sh", "-c", "sleep 1000; :"], env=ours, start_new_session=True) as left,
        subprocess.Popen(["sleep", "1000"], env=theirs, start_new_session=True) as stranger,
    ):
        inner = until(lambda: psutil.Process(left.pid).children())[0]
        home.pid_file("worker").write_text(f"{left.pid}\n")
        home.pid_file("api").write_text(f"{stranger.pid}\n")

        ended = leftovers.end(home)

        assert ended == ["worker"]
        assert left.poll() == -signal.SIGTERM
        assert not is_alive(inner.pid)
        assert stranger.poll() is None
        assert not list(home.run.glob("*.pid"))
        stranger.kill()


def test_leftovers_whose_first_process_is_gone_are_found_too(home, tmp_path):
    inner = tmp_path / "inner"
    ours = {**environment.inherited(), "BACKBURNER_HOME": str(home.path)}
    script = f"sleep 1000 & echo $! > {inner}"
    with subprocess.Popen(["sh", "-c", script], env=ours, start_new_session=True) as left:
        pass
    # Between fork and exec, a process shows no environment.
    until(lambda: psutil.Process(int(inner.read_text())).name() == "sleep")
    home.pid_file("api").write_text(f"{left.pid}\n")

    assert leftovers.end(home) == ["api"]
    assert not is_alive(int(Path(inner).read_text()))

"""The supervisor restarts, stops and reports processes that die, hang, ignore signals or never become ready."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from local.home import Home
from local.processes import child, environment, leftovers
from local.processes.child import Part
from local.processes.supervisor import Supervisor
from tests.harness.waiting import until


class RecordingSupervisor(Supervisor):
    """A supervisor that records its output."""

    def __init__(self, home: Home) -> None:
        self.lines: list[str] = []
        super().__init__(home, print_line=self.lines.append)


@pytest.fixture
def supervisor(home: Home) -> Iterator[RecordingSupervisor]:
    recording_supervisor = RecordingSupervisor(home)
    yield recording_supervisor
    recording_supervisor.stop(should_hurry=lambda: True)


def create_sleep_part(name: str, **changes) -> Part:
    return Part(**{"name": name, "argv": ["sleep", "1000"], "ready": lambda _pid: True} | changes)


def create_shell_part(name: str, script: str, **changes) -> Part:
    return Part(**{"name": name, "argv": ["sh", "-c", script], "ready": lambda _pid: True} | changes)


def read_pid(home: Home, name: str) -> int:
    """Return the process ID in the PID file, or 0 if there is no PID file."""
    file = home.pid_file(name)
    return int(file.read_text() or 0) if file.exists() else 0


def tick_until(supervisor: Supervisor, condition: Callable[[], object], *, timeout_s: float = 10) -> None:
    """Run the supervisor until the condition is true."""

    def tick_and_check() -> object:
        supervisor.tick()
        return condition()

    until(tick_and_check, timeout_s=timeout_s)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_killed_part_is_restarted(supervisor, home):
    supervisor.start(create_sleep_part("api"))
    first_pid = read_pid(home, "api")

    os.kill(first_pid, signal.SIGKILL)
    tick_until(supervisor, lambda: read_pid(home, "api") not in {0, first_pid})

    assert is_alive(read_pid(home, "api"))
    assert supervisor.lines == [f"api ended (killed by SIGKILL); restarting in 0.2 s. Log: {home.log_file('api')}"]


def test_restart_delays_grow_and_do_not_delay_other_parts(supervisor, home):
    supervisor.start(create_sleep_part("api"), create_shell_part("worker", "exit 3"))
    first_pid = read_pid(home, "api")

    tick_until(supervisor, lambda: len(supervisor.lines) == 3)
    os.kill(first_pid, signal.SIGKILL)
    tick_until(supervisor, lambda: read_pid(home, "api") not in {0, first_pid}, timeout_s=2)

    delays = [line.split("restarting in ")[1].split(" s.")[0] for line in supervisor.lines if "worker" in line]
    assert delays[:3] == ["0.2", "0.4", "0.8"]


def test_parts_stop_in_descending_order_of_their_stages(supervisor, tmp_path):
    stop_log = tmp_path / "order"
    ready_folder = tmp_path / "ready"
    ready_folder.mkdir()

    def part(name: str, stage: int) -> Part:
        script = (
            f"trap 'echo {name} >> {stop_log}; exit' TERM; touch {ready_folder / name}; while :; do sleep 0.02; done"
        )
        return create_shell_part(name, script, stage=stage, ready=lambda _pid: (ready_folder / name).exists())

    supervisor.start(part("postgres", 0), part("valkey", 1))
    supervisor.start(part("api", 2))
    supervisor.stop()

    assert stop_log.read_text().split() == ["api", "valkey", "postgres"]


def test_a_part_that_ignores_its_stop_signal_is_killed_with_its_children(supervisor, home, tmp_path):
    child_pid_file = tmp_path / "child"
    script = f"trap '' TERM; sleep 1000 & echo $! > {child_pid_file}; while :; do sleep 1; done"
    supervisor.start(
        create_shell_part(
            "worker", script, grace_s=0.3, ready=lambda _pid: child_pid_file.exists() and child_pid_file.read_text()
        )
    )
    pids = {read_pid(home, "worker"), int(child_pid_file.read_text())}

    supervisor.stop()

    until(lambda: not any(is_alive(pid) for pid in pids))
    assert not home.pid_file("worker").exists()


def test_the_children_of_a_dead_part_are_killed_before_its_restart(supervisor, home, tmp_path):
    child_pid_file = tmp_path / "child"
    script = f"sleep 1000 & echo $! > {child_pid_file}; wait"
    supervisor.start(
        create_shell_part("api", script, ready=lambda _pid: child_pid_file.exists() and child_pid_file.read_text())
    )
    first_pid, orphan_pid = read_pid(home, "api"), int(child_pid_file.read_text())

    os.kill(first_pid, signal.SIGKILL)
    tick_until(supervisor, lambda: read_pid(home, "api") not in {0, first_pid})

    assert not is_alive(orphan_pid)


def test_a_part_that_ends_during_startup_is_reported_with_the_end_of_its_log(supervisor):
    with pytest.raises(child.PartFailure, match=r"(?s)^api ended during startup \(status 7\)\. .*no such thing"):
        supervisor.start(create_shell_part("api", "echo no such thing; exit 7", ready=lambda _pid: False))


def test_a_part_that_is_never_ready_is_reported(supervisor):
    with pytest.raises(child.PartFailure, match=r"^api was not ready within 0 s\."):
        supervisor.start(create_sleep_part("api", ready=lambda _pid: False, ready_timeout_s=0.2))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can stop children when their parent dies")
def test_parts_stop_when_their_supervisor_is_killed(home):
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from local.processes.child import Part\n"
        "from local.home import Home\n"
        "from local.processes.supervisor import Supervisor\n"
        f"home = Home.at(Path({str(home.path)!r}))\n"
        "part = Part(name='api', argv=['sleep', '1000'], ready=lambda pid: True)\n"
        "Supervisor(home, print_line=print).start(part)\n"
        "print('up', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "up\n"
        pid = read_pid(home, "api")
        parent.kill()

    until(lambda: not is_alive(pid))


def test_leftovers_of_a_killed_run_are_stopped_and_other_processes_are_not(home):
    own_environment = {**environment.process_variables(), "BACKBURNER_HOME": str(home.path)}
    foreign_environment = {**environment.process_variables(), "BACKBURNER_HOME": "/somewhere/else"}
    with (
        subprocess.Popen(["sh", "-c", "sleep 1000; :"], env=own_environment, start_new_session=True) as leftover,
        subprocess.Popen(["sleep", "1000"], env=foreign_environment, start_new_session=True) as foreign_process,
    ):
        grandchild = until(lambda: psutil.Process(leftover.pid).children())[0]
        home.pid_file("worker").write_text(f"{leftover.pid}\n")
        home.pid_file("api").write_text(f"{foreign_process.pid}\n")

        part_names = leftovers.stop_leftovers(home)

        assert part_names == ["worker"]
        assert leftover.poll() == -signal.SIGTERM
        assert not is_alive(grandchild.pid)
        assert foreign_process.poll() is None
        assert not list(home.run.glob("*.pid"))
        foreign_process.kill()


def test_leftovers_without_their_first_process_are_also_stopped(home, tmp_path):
    child_pid_file = tmp_path / "child"
    own_environment = {**environment.process_variables(), "BACKBURNER_HOME": str(home.path)}
    script = f"sleep 1000 & echo $! > {child_pid_file}"
    with subprocess.Popen(["sh", "-c", script], env=own_environment, start_new_session=True) as leftover:
        pass
    # Wait until exec has completed: before that, the environment of the process is not readable, even if its name has
    # already changed.
    until(lambda: psutil.Process(int(child_pid_file.read_text())).name() == "sleep")
    until(lambda: "BACKBURNER_HOME" in psutil.Process(int(child_pid_file.read_text())).environ())
    home.pid_file("api").write_text(f"{leftover.pid}\n")

    assert leftovers.stop_leftovers(home) == ["api"]
    assert not is_alive(int(child_pid_file.read_text()))

"""Stops processes that a killed `backburner up` left running in the same folder."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

from local.home import Home

GRACE_PERIOD_S = 15.0
DATABASE_NAMES = {"postgres", "valkey"}


def stop_leftovers(home: Home) -> list[str]:
    """Stop the parts with PID files, databases last, and delete the files; return the names of the parts.

    The caller must hold the lock on HOME: then no running supervisor owns these processes.
    """
    processes_by_name = _find_processes(home)
    for names in (processes_by_name.keys() - DATABASE_NAMES, processes_by_name.keys() & DATABASE_NAMES):
        _stop_sessions({name: processes_by_name[name] for name in names})
    # The backends of a killed Postgres exit shortly after it, and use its shared memory until they exit.
    _wait_while(lambda: any(_is_backend(home, process) for process in psutil.process_iter(["name"])))
    for file in (*home.run.glob("*.pid"), *home.run.glob("*.health")):
        file.unlink()
    return sorted(processes_by_name)


def _find_processes(home: Home) -> dict[str, list[psutil.Process]]:
    """The live processes of each part, by name: the process whose ID is in the PID file, and its descendants."""
    names_by_pid = {}
    for pid_file in home.run.glob("*.pid"):
        with contextlib.suppress(ValueError):
            names_by_pid[int(pid_file.read_text(encoding="utf-8"))] = pid_file.stem
    processes_by_name: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            name = names_by_pid.get(os.getsid(process.pid))  # every part is a session leader
            if name and _belongs_to(home, process):
                processes_by_name.setdefault(name, []).append(process)
    return processes_by_name


def _belongs_to(home: Home, process: psutil.Process) -> bool:
    """Whether the process belongs to this HOME: the PID in an old PID file may now be that of another program."""
    return process.environ().get("BACKBURNER_HOME") == str(home.path) or str(home.postgres) in process.cmdline()


def _stop_sessions(sessions: dict[str, list[psutil.Process]]) -> None:
    leaders = {name: min(processes, key=lambda process: process.create_time()) for name, processes in sessions.items()}
    for name, leader in leaders.items():
        # At SIGINT, Postgres ends its connections; at SIGTERM, it would wait for them.
        _send_signal([leader], signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _wait_while(lambda: any(_is_alive(leader) for leader in leaders.values()))
    all_processes = [process for processes in sessions.values() for process in processes]
    _send_signal(all_processes, signal.SIGKILL)
    _wait_while(lambda: any(_is_alive(process) for process in all_processes))


def _send_signal(processes: Iterable[psutil.Process], signal_number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal_number)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_backend(home: Home, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.info["name"] == "postgres" and str(home.postgres) in {process.cwd(), *process.cmdline()}
    return False


def _wait_while(condition: Callable[[], bool]) -> None:
    """Wait while the condition is true, for at most `GRACE_PERIOD_S`."""
    deadline = time.monotonic() + GRACE_PERIOD_S
    while condition() and time.monotonic() < deadline:
        time.sleep(0.05)

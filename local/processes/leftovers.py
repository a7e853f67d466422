"""Stops processes that a killed `backburner up` left running in the same folder."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

from local.home import Home

GRACE_S = 15.0
SERVERS = {"postgres", "valkey"}


def end(home: Home) -> list[str]:
    """Stop the parts that the PID files name, databases last, and delete the files; return the names of the parts.

    The caller must hold the lock on HOME, which proves that no running supervisor owns these processes.
    """
    found = _found(home)
    for names in (found.keys() - SERVERS, found.keys() & SERVERS):
        _end_sessions({name: found[name] for name in names})
    # The backends of a killed Postgres exit shortly after it and hold its shared memory until then.
    _wait_while(lambda: any(_is_backend(home, process) for process in psutil.process_iter(["name"])))
    for file in (*home.run.glob("*.pid"), *home.run.glob("*.health")):
        file.unlink()
    return sorted(found)


def _found(home: Home) -> dict[str, list[psutil.Process]]:
    """The live processes of each part: the one in its PID file and its descendants."""
    names = {}
    for pid_file in home.run.glob("*.pid"):
        with contextlib.suppress(ValueError):
            names[int(pid_file.read_text(encoding="utf-8"))] = pid_file.stem
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            name = names.get(os.getsid(process.pid))  # every part is a session leader
            if name and _is_of(home, process):
                found.setdefault(name, []).append(process)
    return found


def _is_of(home: Home, process: psutil.Process) -> bool:
    """Whether the process belongs to this HOME: PIDs are reused, so a PID file alone is no proof."""
    return process.environ().get("BACKBURNER_HOME") == str(home.path) or str(home.postgres) in process.cmdline()


def _end_sessions(sessions: dict[str, list[psutil.Process]]) -> None:
    leaders = {name: min(processes, key=lambda process: process.create_time()) for name, processes in sessions.items()}
    for name, leader in leaders.items():
        _signal([leader], signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _wait_while(lambda: any(_is_alive(leader) for leader in leaders.values()))
    everything = [process for processes in sessions.values() for process in processes]
    _signal(everything, signal.SIGKILL)
    _wait_while(lambda: any(_is_alive(process) for process in everything))


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_backend(home: Home, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.info["name"] == "postgres" and process.cwd() == str(home.postgres))
    return False


def _wait_while(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GRACE_S
    while condition() and time.monotonic() < deadline:
        time.sleep(0.05)

"""Functions for tests that change the configuration file of running processes."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

PARTS = ("api", "worker", "sweeper")


def write_models(path: Path, models: ModelServer, entries: Mapping[str, str], *, tables: str = "") -> None:
    """Write a configuration file with models on the scripted server.

    Args:
        entries: further lines of each model's table, by the model's name.
        tables: further tables of the file.
    """
    server = f'base_url = "{models.base_url}"\nupstream_model = "scripted"\n'
    path.write_text("".join(f"[models.{name}]\n{server}{lines}\n" for name, lines in entries.items()) + tables)


def start_parts(stack: Stack, **settings: str) -> None:
    """Start all parts, and wait until each handles SIGHUP."""
    stack.up(**settings)
    until(lambda: "msg=sweeping" in stack.log("sweeper"))


def send_hangup(stack: Stack, *names: str) -> None:
    """Send SIGHUP to parts, as a supervisor does."""
    for name in names or PARTS:
        os.kill(stack.children[name].pid, signal.SIGHUP)


def reload_models(stack: Stack, *names: str, api_processes: int = 1, is_valid: bool = True) -> None:
    """Send SIGHUP to parts, and wait until all of their processes have read the file.

    Args:
        api_processes: number of processes of the API.
        is_valid: whether the processes accept the file.
    """
    message = 'msg="configuration reloaded"' if is_valid else 'msg="configuration not reloaded"'
    names = names or PARTS
    process_counts = {name: api_processes if name == "api" else 1 for name in names}
    earlier_counts = {name: stack.log(name).count(message) for name in names}
    send_hangup(stack, *names)
    for name in names:
        until(lambda name=name: stack.log(name).count(message) == earlier_counts[name] + process_counts[name])


def registered_workers(stack: Stack) -> list[str]:
    """The IDs of the registered workers; a restart of a worker changes its ID."""
    return sorted(row[0] for row in stack.sql("select id from workers"))

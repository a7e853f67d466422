"""Command `backburner up`: runs the complete stack on this machine until Ctrl-C."""

import json
import shlex
import time

import click

from core import settings
from core.settings import Settings
from local import stack, web
from local.home import Home
from local.processes import lock
from local.processes.interrupts import Interrupted, Interrupts
from local.stack import Stack

LOOK_EVERY_S = 0.1


def up(workers: int) -> None:
    """Run the stack in the foreground until Ctrl-C or SIGTERM stops it.

    Raises:
        errors.Error: the stack could not be started; no part is left running.
    """
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts, lock.locked(home):
        try:
            with stack.running(
                fresh_settings(home), home, workers=workers, say=click.echo, interrupts=interrupts
            ) as running:
                click.echo(_welcome(running, home))
                _watch(running)
        except Interrupted:
            click.echo("Stopped.")


def fresh_settings(home: Home) -> Settings:
    """Load the settings after deleting the stack.env of a killed run. The caller must hold the lock on HOME."""
    home.stack_env.unlink(missing_ok=True)
    return settings.load()


def curl(running: Stack) -> str:
    """A shell command that submits a background response."""
    url = web.origin(running.settings.host, running.settings.port) + "/v1/responses"
    name = running.models[0] if running.models else "MODEL"
    body = {"model": name, "input": "Say hello.", "background": True}
    headers = [f"Authorization: Bearer {stack.api_key(running.settings)}", "Content-Type: application/json"]
    words = ["curl", url, *(word for header in headers for word in ("-H", header)), "-d", json.dumps(body)]
    return shlex.join(words)


def _watch(running: Stack) -> None:
    try:
        while True:
            running.supervisor.tick()
            time.sleep(LOOK_EVERY_S)
    except Interrupted:
        click.echo("\nStopping; press Ctrl-C again to stop without waiting for running responses ...")
        raise


def _welcome(running: Stack, home: Home) -> str:
    made = running.settings
    rows = {
        "API": web.origin(made.host, made.port) + "/v1",
        "Flower": web.origin(made.host, made.flower_port),
        "API key": stack.api_key(made),
        "Model": ", ".join(running.models) or f"none: define one in {made.config}",
        "Logs": str(home.logs),
    }
    lines = "\n".join(f"  {name:<9}{value}" for name, value in rows.items())
    return f"\nBackburner is up.\n\n{lines}\n\nTry it:\n\n  {curl(running)}\n\nPress Ctrl-C to stop everything."

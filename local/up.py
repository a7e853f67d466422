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
from local.processes.interrupts import Interruption, Interrupts
from local.stack import Stack

TICK_INTERVAL_S = 0.1


def up(workers: int) -> None:
    """Run the stack in the foreground until Ctrl-C or SIGTERM.

    Raises:
        errors.Error: the stack could not be started; no part is left running.
    """
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts, lock.lock_folder(home):
        try:
            with stack.running(
                load_fresh_settings(home), home, workers=workers, print_line=click.echo, interrupts=interrupts
            ) as running_stack:
                click.echo(_welcome_message(running_stack, home))
                _supervise_stack(running_stack)
        except Interruption:
            click.echo("Stopped.")


def load_fresh_settings(home: Home) -> Settings:
    """Delete the stack.env that a killed stack left, then load the settings. The caller must hold the lock on HOME."""
    home.stack_env.unlink(missing_ok=True)
    return settings.load()


def curl_command(running_stack: Stack) -> str:
    """A shell command that submits a background response."""
    url = web.origin(running_stack.settings.host, running_stack.settings.port) + "/v1/responses"
    model_name = running_stack.models[0] if running_stack.models else "MODEL"
    # Without a limit, a small model may write for minutes.
    body = {"model": model_name, "input": "Say hello.", "max_output_tokens": 100, "background": True}
    headers = [f"Authorization: Bearer {stack.api_key(running_stack.settings)}", "Content-Type: application/json"]
    arguments = ["curl", url, *(word for header in headers for word in ("-H", header)), "-d", json.dumps(body)]
    return shlex.join(arguments)


def poll_command(running_stack: Stack) -> str:
    """A shell command that polls a response; the user must replace the placeholder with the ID of the response."""
    url = web.origin(running_stack.settings.host, running_stack.settings.port) + "/v1/responses/resp_..."
    return shlex.join(["curl", url, "-H", f"Authorization: Bearer {stack.api_key(running_stack.settings)}"])


def _supervise_stack(running_stack: Stack) -> None:
    try:
        while True:
            running_stack.supervisor.tick()
            time.sleep(TICK_INTERVAL_S)
    except Interruption:
        click.echo("\nStopping; press Ctrl-C again to stop without waiting for running responses ...")
        raise


def _welcome_message(running_stack: Stack, home: Home) -> str:
    stack_settings = running_stack.settings
    entries = {
        "API": web.origin(stack_settings.host, stack_settings.port) + "/v1",
        "Docs": web.origin(stack_settings.host, stack_settings.port) + "/docs",
        "Flower": web.origin(stack_settings.host, stack_settings.flower_port),
        "API key": stack.api_key(stack_settings),
        "Model": ", ".join(running_stack.models) or f"none: define one in {stack_settings.config}",
        "Logs": str(home.logs),
    }
    lines = "\n".join(f"  {name:<9}{value}" for name, value in entries.items())
    return (
        f"\nBackburner is up.\n\n{lines}\n\n"
        f"Try it:\n\n  {curl_command(running_stack)}\n\n"
        f"Then poll the response, with the `id` from the answer:\n\n  {poll_command(running_stack)}\n\n"
        "The folder `examples` has scripts for the `openai` client. Press Ctrl-C to stop everything."
    )

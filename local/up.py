"""Command `backburner up`: runs the complete stack on this machine until Ctrl-C."""

import time

import click

from core import settings
from core.settings import Settings
from local import stack
from local.home import Home
from local.processes import lock
from local.processes.interrupts import Interruption, Interrupts
from local.stack import Stack
from local.welcome import welcome_message

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
                click.echo(welcome_message(running_stack, home))
                _supervise_stack(running_stack)
        except Interruption:
            click.echo("Stopped.")


def load_fresh_settings(home: Home) -> Settings:
    """Delete the stack.env that a killed stack left, then load the settings. The caller must hold the lock on HOME."""
    home.stack_env.unlink(missing_ok=True)
    return settings.load()


def _supervise_stack(running_stack: Stack) -> None:
    try:
        while True:
            running_stack.supervisor.tick()
            time.sleep(TICK_INTERVAL_S)
    except Interruption:
        click.echo("\nStopping; press Ctrl-C again to stop without waiting for running responses ...")
        raise

"""Limits Celery's remote control: anyone who can write to Redis can send its commands."""

import logging

from celery.worker.control import Panel

log = logging.getLogger(__name__)

# Allowed in addition to commands of the type "inspect", which only read, except `hello`: it also adds the revocations
# of another worker. The first two revoke a task, which cancels its response; the others send events to Flower.
ALLOWED_COMMANDS = frozenset({"revoke", "terminate", "enable_events", "heartbeat"})


def limit_remote_control() -> None:
    """Refuse all commands that would change this worker, such as `shutdown`, `cancel_consumer` and `pool_shrink`."""
    refused_names = [name for name in Panel.data if name not in ALLOWED_COMMANDS and _command_type(name) != "inspect"]
    for name in refused_names:
        Panel.data[name] = _refuse


def _command_type(name: str) -> str:
    # `Panel.meta` does not contain aliases, and only commands of the type "inspect" have aliases.
    return Panel.meta[name].type if name in Panel.meta else "inspect"


def _refuse(_: object, **arguments: object) -> dict[str, str]:
    log.warning("refused a remote control command", extra={"arguments": repr(arguments)[:200]})
    return {"error": "Backburner workers refuse this remote control command."}

"""A complete Backburner stack on this machine: its parts and the settings that connect them."""

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from core import errors
from core.bootstrap import open_core
from core.config import catalog
from core.settings import PREFIX, Settings
from core.tenants import rights
from local import ports
from local.edges import Edges
from local.home import Home, write_private
from local.processes import leftovers
from local.processes.child import Child, Part
from local.processes.interrupts import Interrupts
from local.processes.supervisor import Supervisor
from local.servers import model
from local.servers.postgres import Postgres
from local.servers.valkey import Valkey

PACKAGED_MODEL = """\
# Written by `backburner up`: the packaged model, because no backburner.toml was found.
[models."{name}"]
base_url = "{url}"
concurrency = {slots}
context_window = {context}
# It accepts tools but never calls one; it supports neither images nor reasoning.
supports = ["tools", "json_schema", "logprobs", "continue"]
"""


@dataclass(frozen=True)
class Stack:
    """A running stack with its complete settings."""

    settings: Settings
    models: list[str]
    supervisor: Supervisor


@contextlib.contextmanager
def running(
    settings: Settings, home: Home, *, workers: int, say: Callable[[str], None], interrupts: Interrupts
) -> Iterator[Stack]:
    """Start all parts, and stop them on exit. The caller must hold the lock on HOME.

    Args:
        settings: settings that were loaded while HOME/run/stack.env did not exist.
        say: prints one line.

    Raises:
        errors.Error: a part did not start, or a setting is invalid; no part is left running.
        Interrupted: a stop signal arrived during startup.
    """
    if left := leftovers.end(home):
        say(f"Stopped processes of an earlier run: {', '.join(left)}.")
    _refuse_taken_ports(settings)
    supervisor = Supervisor(home, say=say, check=interrupts.check)
    try:
        servers, settings = _servers(settings, home)
        say(f"Starting {', '.join(part.name for part in servers) or 'with your own servers'} ...")
        supervisor.start(*servers)
        write_private(home.stack_env, lines(exported(settings)))
        edges = Edges(settings, {**exported(settings), PREFIX + "HOME": str(home.path)})
        _migrate(edges, home, supervisor)
        with open_core(settings) as core:
            core.keys.register(api_key(settings), rights.ALL)
            models = sorted(core.catalog.models)
        say("Starting api, worker, sweeper, flower ...")
        supervisor.start(*edges.parts(workers=workers))
        yield Stack(settings, models, supervisor)
    finally:
        home.stack_env.unlink(missing_ok=True)
        supervisor.stop(hurry=interrupts.hurry)


def exported(settings: Settings) -> dict[str, str]:
    """The environment variables with which other `backburner` commands connect to this stack."""
    values = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "FLOWER_PORT": str(settings.flower_port),
        "CONFIG": str(settings.config),
        "DATABASE_URL": _secret(settings.database_url),
        "REDIS_URL": _secret(settings.redis_url),
        "API_KEY": api_key(settings),
        "SECRET_KEY": _secret(settings.secret_key),
    }
    return {PREFIX + name: value for name, value in values.items()}


def lines(variables: dict[str, str]) -> str:
    """Format the variables as an environment file; values are quoted only if necessary."""
    escapes = str.maketrans({"\\": "\\\\", "'": "\\'"})
    plain = {name: re.fullmatch(r"[^\s'\"#\\]*", value) for name, value in variables.items()}
    return "".join(
        f"{name}={value}\n" if plain[name] else f"{name}='{value.translate(escapes)}'\n"
        for name, value in variables.items()
    )


def api_key(settings: Settings) -> str:
    """The operator's API key for a running stack."""
    return _secret(settings.api_key)


def _refuse_taken_ports(settings: Settings) -> None:
    for port, variable in ((settings.port, "PORT"), (settings.flower_port, "FLOWER_PORT")):
        if why := ports.why_not(settings.host, port):
            raise errors.BadSettings(f"Port {port} of {settings.host} {why}. Set {PREFIX}{variable} to another port.")


def _servers(settings: Settings, home: Home) -> tuple[list[Part], Settings]:
    """The packaged servers to start, and the settings completed with their addresses."""
    parts = []
    completed: dict[str, object] = {
        "home": home.path,
        "api_key": _stored_secret(settings.api_key, home.path / "api_key", prefix="sk-bb-"),
        "secret_key": _stored_secret(settings.secret_key, home.path / "secret_key"),
    }
    if not settings.database_url:
        postgres = Postgres(home)
        parts.append(postgres.prepare())
        completed["database_url"] = SecretStr(postgres.url)
    if not settings.redis_url:
        valkey = Valkey(home)
        parts.append(valkey.prepare())
        completed["redis_url"] = SecretStr(valkey.url)
    config = (settings.config or Path("backburner.toml")).expanduser().resolve()
    if settings.config is None and not config.exists():
        port = ports.free()
        config = home.run / "backburner.toml"
        text = PACKAGED_MODEL.format(
            name=model.NAME, url=model.base_url(port), slots=model.SLOTS, context=model.CONTEXT_TOKENS
        )
        config.write_text(text, encoding="utf-8")
        parts.append(model.part(home, port))
    completed["config"] = config
    catalog.load(config)  # report errors in the file before any process is started
    return parts, settings.model_copy(update=completed)


def _stored_secret(given: SecretStr | None, file: Path, *, prefix: str = "") -> SecretStr:
    """A secret from the settings; otherwise one that is generated once and stored in a file of HOME."""
    if given and given.get_secret_value():
        return given
    if file.exists() and (stored := file.read_text(encoding="utf-8").strip()):
        return SecretStr(stored)
    made = f"{prefix}{secrets.token_urlsafe(32)}"
    write_private(file, made + "\n")
    return SecretStr(made)


def _migrate(edges: Edges, home: Home, supervisor: Supervisor) -> None:
    step = Child(edges.migration(), home)
    try:
        step.wait_until_done(meanwhile=supervisor.tick)
    finally:
        step.ask_to_stop()
        step.wait_until_stopped()


def _secret(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""

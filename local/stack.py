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
from local.backburner_parts import BackburnerParts
from local.findings import check_model_servers
from local.home import Home, write_private
from local.processes import leftovers
from local.processes.child import Child, Part
from local.processes.interrupts import Interrupts
from local.processes.supervisor import Supervisor
from local.servers import model
from local.servers.postgres import Postgres
from local.servers.valkey import Valkey

PACKAGED_CONFIGURATION = """\
# Written by `backburner up`: the packaged model, because no backburner.toml was found.
[models."{name}"]
base_url = "{url}"
concurrency = {slots}
context_window = {context}
# The model accepts tools but never calls them; it supports neither images nor reasoning.
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
    settings: Settings, home: Home, *, workers: int, print_line: Callable[[str], None], interrupts: Interrupts
) -> Iterator[Stack]:
    """Run all parts for the duration of the block. The caller must hold the lock on HOME.

    Args:
        settings: the user's settings, without those in the HOME/run/stack.env of an earlier stack.
        print_line: prints one line for the user.

    Raises:
        errors.Error: a part did not start, or a setting is invalid; no part is left running.
        Interruption: a stop signal arrived during startup.
    """
    if part_names := leftovers.stop_leftovers(home):
        print_line(f"Stopped processes of an earlier run: {', '.join(part_names)}.")
    _check_ports(settings)
    supervisor = Supervisor(home, print_line=print_line, check=interrupts.raise_if_signalled)
    try:
        servers, settings = _prepare_servers(settings, home)
        if not any(part.name == model.PART_NAME for part in servers):
            _warn_of_unusable_models(settings, print_line)
        print_line(f"Starting {', '.join(part.name for part in servers) or 'with your own servers'} ...")
        supervisor.start(*servers)
        write_private(home.stack_env, format_env_file(environment_variables(settings)))
        backburner_parts = BackburnerParts(
            settings, {**environment_variables(settings), PREFIX + "HOME": str(home.path)}
        )
        _migrate_database(backburner_parts, home, supervisor)
        with open_core(settings) as core:
            core.keys.register(api_key(settings), rights.ALL_RIGHTS)
            models = sorted(core.live_catalog.current.models)
        print_line("Starting api, worker, sweeper, flower ...")
        supervisor.start(*backburner_parts.parts(workers=workers))
        yield Stack(settings, models, supervisor)
    finally:
        home.stack_env.unlink(missing_ok=True)
        supervisor.stop(should_hurry=interrupts.should_hurry)


def environment_variables(settings: Settings) -> dict[str, str]:
    """The environment variables with which other `backburner` commands connect to this stack."""
    values = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "FLOWER_PORT": str(settings.flower_port),
        "CONFIG": str(settings.config),
        "DATABASE_URL": _secret_text(settings.database_url),
        "REDIS_URL": _secret_text(settings.redis_url),
        "API_KEY": api_key(settings),
        "SECRET_KEY": _secret_text(settings.secret_key),
    }
    return {PREFIX + name: value for name, value in values.items()}


def format_env_file(variables: dict[str, str]) -> str:
    """Format the variables as the text of an environment file; values are quoted only if necessary."""
    escapes = str.maketrans({"\\": "\\\\", "'": "\\'"})
    lines = []
    for name, value in variables.items():
        is_plain = re.fullmatch(r"[^\s'\"#\\]*", value) is not None
        lines.append(f"{name}={value}\n" if is_plain else f"{name}='{value.translate(escapes)}'\n")
    return "".join(lines)


def api_key(settings: Settings) -> str:
    """The operator's API key for a running stack."""
    return _secret_text(settings.api_key)


def _check_ports(settings: Settings) -> None:
    for port, variable in ((settings.port, "PORT"), (settings.flower_port, "FLOWER_PORT")):
        if problem := ports.listen_problem(settings.host, port):
            raise errors.BadSettings(
                f"Port {port} of {settings.host} {problem}. Set {PREFIX}{variable} to another port."
            )


def _prepare_servers(settings: Settings, home: Home) -> tuple[list[Part], Settings]:
    """Prepare the packaged servers that the settings require; return their parts and the complete settings."""
    parts = []
    updates: dict[str, object] = {
        "home": home.path,
        "api_key": _load_or_create_secret(settings.api_key, home.path / "api_key", prefix="sk-bb-"),
        "secret_key": _load_or_create_secret(settings.secret_key, home.path / "secret_key"),
    }
    if not settings.database_url:
        postgres = Postgres(home)
        parts.append(postgres.prepare())
        updates["database_url"] = SecretStr(postgres.url)
    if not settings.redis_url:
        valkey = Valkey(home)
        parts.append(valkey.prepare())
        updates["redis_url"] = SecretStr(valkey.url)
    config_file = (settings.config or Path("backburner.toml")).expanduser().resolve()
    if settings.config is None and not config_file.exists():
        port = ports.free_port()
        config_file = home.run / "backburner.toml"
        configuration = PACKAGED_CONFIGURATION.format(
            name=model.NAME, url=model.base_url(port), slots=model.SLOTS, context=model.CONTEXT_TOKENS
        )
        config_file.write_text(configuration, encoding="utf-8")
        parts.append(model.build_part(home, port))
    updates["config"] = config_file
    catalog.load(config_file)  # report errors in the file before any process is started
    return parts, settings.model_copy(update=updates)


def _warn_of_unusable_models(settings: Settings, print_line: Callable[[str], None]) -> None:
    """Print a warning for each model server that does not answer, or whose API key is missing or rejected."""
    for finding in check_model_servers(catalog.load(settings.config)):
        if finding.solution:
            print_line(f"Warning: {finding.subject} {finding.result}. {finding.solution}")


def _load_or_create_secret(configured_secret: SecretStr | None, file: Path, *, prefix: str = "") -> SecretStr:
    """The secret from the settings, or else a secret that is generated once and stored in a file of HOME."""
    if configured_secret and configured_secret.get_secret_value():
        return configured_secret
    if file.exists() and (text := file.read_text(encoding="utf-8").strip()):
        return SecretStr(text)
    secret = f"{prefix}{secrets.token_urlsafe(32)}"
    write_private(file, secret + "\n")
    return SecretStr(secret)


def _migrate_database(backburner_parts: BackburnerParts, home: Home, supervisor: Supervisor) -> None:
    migration = Child(backburner_parts.migration(), home)
    try:
        migration.wait_for_success(on_wait=supervisor.tick)
    finally:
        migration.send_stop_signal()
        migration.wait_until_stopped()


def _secret_text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""

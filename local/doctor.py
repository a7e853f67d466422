"""Command `backburner doctor`: checks every dependency and prints how to fix each problem, without secrets."""

import difflib
import sys
from collections.abc import Iterator

import click
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import errors, schema_version, settings
from core.bootstrap import database_url, redis_url
from core.config import catalog
from core.config.catalog import Catalog
from core.database import Database, PostgresError, connect
from core.dispatch.dispatcher import build_rules
from core.dispatch.situation import Rules
from core.dispatch.waits.load import WorkerLoad, read_load
from core.jsonio import JsonObject
from core.settings import PREFIX, Settings
from local import ports, web
from local.findings import Finding, check_model_servers, mask_password
from local.processes import environment

OLDEST_PYTHON = (3, 11)


def doctor() -> bool:
    """Print all findings; return whether no check found a problem."""
    is_healthy = True
    for finding in run_checks():
        mark = click.style("FAIL", fg="red") if finding.solution else click.style("ok  ", fg="green")
        click.echo(f"{mark}  {finding.subject:<13} {finding.result}")
        if finding.solution:
            click.echo(f"      {'':<13} -> {finding.solution}")
            is_healthy = False
    return is_healthy


def run_checks() -> Iterator[Finding]:
    """Run all checks in sequence; yield their findings."""
    yield _check_python()
    yield from _check_variables()
    try:
        current_settings = settings.load()
        yield Finding("settings", f"valid; data folder {current_settings.home.resolve()}")
    except errors.Error as error:
        yield Finding("settings", "invalid", str(error))
        return
    model_catalog, finding = _check_configuration(current_settings)
    yield finding
    yield _check_api(current_settings)
    yield from _check_postgres(current_settings, model_catalog)
    yield _check_redis(current_settings)
    yield from check_model_servers(model_catalog)


def _check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Finding("python", version)
    return Finding("python", version, "Use Python 3.11 or newer: make PYTHON=python3.12 up")


def _check_variables() -> Iterator[Finding]:
    setting_names = {PREFIX + name.upper() for name in Settings.model_fields}
    environment_names = {name.upper() for name in environment.process_variables() if name.upper().startswith(PREFIX)}
    for name in sorted(environment_names - setting_names):
        similar_names = difflib.get_close_matches(name, setting_names, n=1)
        hint = f"Did you mean {similar_names[0]}?" if similar_names else "Remove it."
        yield Finding("environment", f"{name} is not a setting", hint)
    if environment_names <= setting_names:
        yield Finding("environment", f"{len(environment_names)} {PREFIX}* variables, all known")


def _check_configuration(current_settings: Settings) -> tuple[Catalog, Finding]:
    try:
        model_catalog = catalog.load(current_settings.config)
    except errors.Error as error:
        return Catalog({}), Finding("configuration", "invalid", str(error))
    if model_catalog.models:
        return model_catalog, Finding("configuration", f"models: {', '.join(sorted(model_catalog.models))}")
    solution = 'Add a [models."..."] table to backburner.toml, or start `backburner up`, which then runs its own model.'
    return model_catalog, Finding("configuration", "defines no model", solution)


def _check_api(current_settings: Settings) -> Finding:
    url = web.origin(current_settings.host, current_settings.port)
    health = web.fetch_object(url + "/healthz")
    if health is not None:
        return _check_reload(url, health)
    try:
        problem = ports.listen_problem(current_settings.host, current_settings.port)
    except errors.BadSettings as error:
        return Finding("api", "cannot run", str(error))
    if problem:
        return Finding(
            "api", f"port {current_settings.port} {problem}", f"Stop that program, or set {PREFIX}PORT to another port."
        )
    return Finding(
        "api", f"not running; port {current_settings.port} is free", "Start it: backburner up (or backburner api)"
    )


def _check_reload(url: str, health: JsonObject) -> Finding:
    if health.get("configuration") != "not reloaded":
        return Finding("api", f"answers at {url}")
    solution = "Correct the file as the API's log line `configuration not reloaded` describes, and send SIGHUP again."
    return Finding("api", f"answers at {url}, with the configuration before the last SIGHUP", solution)


def _check_postgres(current_settings: Settings, model_catalog: Catalog) -> Iterator[Finding]:
    try:
        url = database_url(current_settings)
    except errors.Error as error:
        yield Finding("postgres", "not configured", str(error))
        return
    try:
        connect(url, pooled=current_settings.database_pooled).close()
    except PostgresError as error:
        yield Finding("postgres", f"does not answer at {mask_password(url)}", mask_password(str(error).splitlines()[0]))
        return
    yield Finding("postgres", f"answers at {mask_password(url)}")
    database = Database(url, connections=1, pooled=current_settings.database_pooled)
    database.open()
    try:
        rules = build_rules(model_catalog, worker_seen_s=current_settings.worker_seen_s)
        yield from _check_schema_and_workers(database, rules)
    finally:
        database.close()


def _check_schema_and_workers(database: Database, rules: Rules) -> Iterator[Finding]:
    try:
        revision = schema_version.check(database)
    except errors.Error as error:
        yield Finding("schema", "wrong version", str(error))
        return
    yield Finding("schema", f"version {revision}, on which this program runs")
    with database.connection() as connection:
        load = read_load(connection, rules, is_broker_available=True)  # `_check_redis` checks the broker
    if load.workers:
        yield Finding("workers", "; ".join(map(_describe_worker, load.workers)))
    else:
        yield Finding("workers", f"none seen for {rules.worker_seen_s:g} s", "Start one: backburner worker")
    unserved_lanes = load.unserved_lanes if load.workers else []
    for lane in unserved_lanes:
        solution = f"Start one: backburner worker -Q {lane}. Otherwise the responses fail at their deadlines."
        yield Finding("lane", f"{lane}: responses are waiting, and no worker serves it", solution)
    for model in load.unknown_models:
        solution = "Give the workers the configuration of the API. Otherwise the responses fail at their deadlines."
        yield Finding("model", f"{model}: responses are waiting, and no worker of their lane knows it", solution)
    for model, circuit in load.circuits.items():
        result = f"{model}: its servers were unavailable {circuit.failures} times in a row; {circuit.cause}"
        yield Finding("circuit", result, "Fix or start its model server; waiting responses then run automatically.")


def _describe_worker(worker: WorkerLoad) -> str:
    slots = "draining, no slots" if worker.draining else f"{worker.slots} slots"
    return f"{worker.id} pid {worker.pid}, {slots} for {', '.join(worker.lanes)}"


def _check_redis(current_settings: Settings) -> Finding:
    try:
        url = redis_url(current_settings)
    except errors.Error as error:
        return Finding("redis", "not configured", str(error))
    try:
        retry = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=retry) as client:
            client.ping()
            policy = _eviction_policy(client)
    except (redis.RedisError, ValueError) as error:
        return Finding("redis", f"does not answer at {mask_password(url)}", mask_password(str(error)))
    if policy in {"noeviction", None}:
        return Finding(
            "redis", f"answers at {mask_password(url)}; maxmemory-policy {policy or 'unknown: CONFIG is denied'}"
        )
    return Finding(
        "redis", f"maxmemory-policy {policy}", "Redis evicts queued messages: set maxmemory-policy noeviction."
    )


def _eviction_policy(client: redis.Redis) -> str | None:
    """The server's eviction policy; None if the server does not permit CONFIG GET."""
    try:
        configuration = client.config_get("maxmemory-policy")
    except redis.ResponseError:
        return None
    return str(configuration.get("maxmemory-policy"))

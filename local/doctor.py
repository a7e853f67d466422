"""Command `backburner doctor`: checks every dependency and prints how to fix each problem. Prints no secrets."""

import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import errors, schema_version, settings
from core.bootstrap import database_url, redis_url
from core.circuits import circuits_sql
from core.config import catalog
from core.config.catalog import Catalog
from core.database import Database, PostgresError, connect
from core.dispatch import lanes_sql
from core.runs import workers_sql
from core.settings import PREFIX, Settings
from local import ports, web
from local.processes import environment

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """The result of one check; `mend` tells how to fix the problem and is None if there is none."""

    what: str
    found: str
    mend: str | None = None


def doctor() -> bool:
    """Print all findings; return True if none is a problem."""
    well = True
    for finding in findings():
        mark = click.style("FAIL", fg="red") if finding.mend else click.style("ok  ", fg="green")
        click.echo(f"{mark}  {finding.what:<13} {finding.found}")
        if finding.mend:
            click.echo(f"      {'':<13} -> {finding.mend}")
            well = False
    return well


def findings() -> Iterator[Finding]:
    """Run all checks, one after another."""
    yield _python()
    yield from _unknown_variables()
    try:
        read = settings.load()
        yield Finding("settings", f"valid; data folder {read.home.resolve()}")
    except errors.Error as error:
        yield Finding("settings", "invalid", str(error))
        return
    models, finding = _configuration(read)
    yield finding
    yield _api(read)
    yield from _postgres(read)
    yield _redis(read)
    for name, model in models.models.items():
        for base_url in model.endpoints:
            yield _model_server(name, base_url, model.api_key())


def masked(url: str) -> str:
    """The URL without its password."""
    without_user = re.sub(r"(://[^:/?#]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", without_user)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Finding("python", found)
    return Finding("python", found, "Use Python 3.11 or newer: make PYTHON=python3.12 up")


def _unknown_variables() -> Iterator[Finding]:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    given = {name.upper() for name in environment.inherited() if name.upper().startswith(PREFIX)}
    for name in sorted(given - known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Remove it."
        yield Finding("environment", f"{name} is not a setting", hint)
    if given <= known:
        yield Finding("environment", f"{len(given)} {PREFIX}* variables, all known")


def _configuration(read: Settings) -> tuple[Catalog, Finding]:
    try:
        models = catalog.load(read.config)
    except errors.Error as error:
        return Catalog({}), Finding("configuration", "invalid", str(error))
    if models.models:
        return models, Finding("configuration", f"models: {', '.join(sorted(models.models))}")
    return models, Finding("configuration", "defines no model", 'Add a [models."..."] table to backburner.toml.')


def _api(read: Settings) -> Finding:
    url = web.origin(read.host, read.port)
    if web.status(url + "/healthz") == 200:
        return Finding("api", f"answers at {url}")
    try:
        why = ports.why_not(read.host, read.port)
    except errors.BadSettings as error:
        return Finding("api", "cannot run", str(error))
    if why:
        return Finding("api", f"port {read.port} {why}", f"Stop that program, or set {PREFIX}PORT to another port.")
    return Finding("api", f"not running; port {read.port} is free", "Start it: backburner up (or backburner api)")


def _postgres(read: Settings) -> Iterator[Finding]:
    try:
        url = database_url(read)
    except errors.Error as error:
        yield Finding("postgres", "not configured", str(error))
        return
    try:
        connect(url, pooled=read.database_pooled).close()
    except PostgresError as error:
        yield Finding("postgres", f"does not answer at {masked(url)}", masked(str(error).splitlines()[0]))
        return
    yield Finding("postgres", f"answers at {masked(url)}")
    database = Database(url, connections=1, pooled=read.database_pooled)
    database.open()
    try:
        yield from _schema_and_workers(database, read.worker_seen_s)
    finally:
        database.close()


def _schema_and_workers(database: Database, seen_s: float) -> Iterator[Finding]:
    try:
        schema_version.check(database)
    except errors.Error as error:
        yield Finding("schema", "wrong version", str(error))
        return
    yield Finding("schema", f"version {schema_version.HEAD}, as this program requires")
    with database.connection() as connection:
        live = workers_sql.live(connection, seen_s)
        open_circuits = circuits_sql.all_open(connection)
        unserved = lanes_sql.unserved(connection, seen_s)
    if live:
        yield Finding("workers", "; ".join(map(_worker, live)))
    else:
        yield Finding("workers", f"none seen for {seen_s:g} s", "Start one: backburner worker")
    for lane in unserved if live else ():
        mend = f"Start one: backburner worker -Q {lane}. Otherwise the responses fail at their deadlines."
        yield Finding("lane", f"{lane}: responses are waiting, and no worker serves it", mend)
    for circuit in open_circuits:
        found = f"{circuit.model}: its servers were unavailable {circuit.failures} times in a row; {circuit.cause}"
        yield Finding("circuit", found, "Fix or start its model server; waiting responses then run automatically.")


def _worker(worker: workers_sql.Worker) -> str:
    return f"{worker.hostname} pid {worker.pid}, {worker.slots} slots for {', '.join(worker.lanes)}"


def _redis(read: Settings) -> Finding:
    try:
        url = redis_url(read)
    except errors.Error as error:
        return Finding("redis", "not configured", str(error))
    try:
        retry = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=retry) as client:
            client.ping()
            policy = _eviction_policy(client)
    except (redis.RedisError, ValueError) as error:
        return Finding("redis", f"does not answer at {masked(url)}", masked(str(error)))
    if policy in {"noeviction", None}:
        return Finding("redis", f"answers at {masked(url)}; maxmemory-policy {policy or 'unknown: CONFIG is denied'}")
    return Finding("redis", f"maxmemory-policy {policy}", "It evicts queued messages: set maxmemory-policy noeviction.")


def _eviction_policy(client: redis.Redis) -> str | None:
    """The server's eviction policy; None if the server does not permit CONFIG GET."""
    try:
        found = client.config_get("maxmemory-policy")
    except redis.ResponseError:
        return None
    return str(found.get("maxmemory-policy"))


def _model_server(name: str, base_url: str, key: str | None) -> Finding:
    status = web.status(f"{base_url}/models", key=key)
    what = "model"
    if status is None or status >= 500:
        says = "does not answer" if status is None else f"answers {status}"
        return Finding(what, f"{name}: {masked(base_url)} {says}", "Start its server, or correct base_url.")
    if status in {401, 403}:
        return Finding(what, f"{name}: {masked(base_url)} rejects the key", "Set the variable that api_key_env names.")
    return Finding(what, f"{name} answers at {masked(base_url)}")

"""Fills a database with many responses by copying the rows that the product wrote for a few real ones."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import psycopg
from psycopg import sql

from bench.client import Client
from bench.deployment import Deployment, background

# Outputs of several lengths, stored as one batch of events or as several.
TEMPLATES = ("20-tokens-at-once", "20-tokens-at-once", "60-tokens-every-10ms", "200-tokens-at-once")
_STEP = 50_000
_SPREAD = "90 days"
# Copies of waiting responses: their numbers start here, and their age is below every deadline.
_WAITING_FROM = 10_000_000
_WAITING_SPREAD = "10 minutes"
_PROJECTS = 4
_TIERS = ("no-limit", "default", "flex")
# SQL expression for the IDs of the copies: 48 hex digits as in real IDs, the first 12 of them a timestamp.
_HEX = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n::text) || substr(md5('more' || n), 1, 4)"


class Stored(Protocol):
    """An object with its own database of responses."""

    @property
    def database_url(self) -> str: ...


def templates(deployment: Deployment) -> None:
    """Create the responses to copy and run them to their end; stops the worker afterwards."""
    deployment.start("worker")
    for model in TEMPLATES:
        deployment.call("POST", "/responses", background(model, "Say something about the weather. " * 20))
    deployment.wait_until_ended(len(TEMPLATES))
    deployment.stop("worker")


def fill(deployment: Deployment, stored: int) -> None:
    """Add copies until `stored` responses exist, with their events, attempts and items."""
    have = deployment.ended()
    newest = deployment.sql("select id from responses order by created_at desc, id desc limit %s", len(TEMPLATES))
    copies(deployment, [str(found[0]) for found in newest][::-1], have, stored, _SPREAD)


def waiting(deployment: Deployment, count: int, models: Sequence[str] = TEMPLATES) -> None:
    """Add `count` waiting responses of several projects, tiers and models. No worker may be running."""
    with deployment.core() as core:
        keys = [core.keys.create({"no-limit"}, f"project-{n}") for n in range(_PROJECTS)]
    originals = []
    for key in keys:
        with Client(deployment.port, key) as client:
            for tier in _TIERS:
                for model in sorted({*models}):
                    body = background(model, "Say something about the weather. " * 20) | {"service_tier": tier}
                    originals.append(str(client.post("/responses", body)["id"]))
    end = _WAITING_FROM + count - len(originals)
    copies(deployment, originals, _WAITING_FROM, end, _WAITING_SPREAD)


def copies(deployment: Stored, originals: Sequence[str], first: int, end: int, spread: str) -> None:
    """Add copies of responses with their events, attempts and items, numbered from `first` up to, not including, `end`.

    Uses two connections to fill, vacuum and analyze the tables, one of them for the events, which make up most of the
    bytes.

    Args:
        originals: IDs of the responses to copy, in turn.
        spread: maximum age that is added to a copy, as a Postgres interval.
    """
    parts = (("response_events",), ("responses", "attempts", "items"))
    with ThreadPoolExecutor(len(parts)) as threads:
        for done in [threads.submit(_copy, deployment, part, originals, first, end, spread) for part in parts]:
            done.result()


def _copy(
    deployment: Stored, tables: Sequence[str], originals: Sequence[str], first: int, end: int, spread: str
) -> None:
    """Copy rows of tables without triggers and foreign key checks, which the originals have already passed."""
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for start in range(first, end, _STEP):
            last = min(end, start + _STEP) - 1
            given = {
                "originals": list(originals),
                "kinds": len(originals),
                "first": start,
                "last": last,
                "spread": spread,
            }
            for table in tables:
                connection.execute(_statement(connection, table), given)
        for table in tables:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))


def some_ids(deployment: Deployment, count: int) -> list[str]:
    """Random IDs of copies from the entire table."""
    last = deployment.ended() - 1
    rows = deployment.sql(
        f"select 'resp_' || {_HEX} from (select %s + (random() * %s)::bigint as n from generate_series(1, %s)) chosen",  # noqa: S608
        len(TEMPLATES),
        last - len(TEMPLATES),
        count,
    )
    return [str(row[0]) for row in rows]


def _statement(connection: psycopg.Connection, table: str) -> sql.Composed:
    """The statement that copies rows of a table with new IDs and times, consistently across the tables."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER'"
        " order by ordinal_position",
        (table,),
    ).fetchall()
    key = "id" if table == "responses" else "response_id"
    return sql.SQL(
        "with chosen as (select id, place - 1 as place from unnest(%(originals)s::text[])"
        " with ordinality as original (id, place)),"
        " fresh as (select n, {hex} as hex, (1 + n * 7919 %% 1000) / 1000.0 * %(spread)s::interval as older"
        " from generate_series(%(first)s::bigint, %(last)s::bigint) n)"
        " insert into {table} ({columns}) select {values} from fresh"
        " join chosen on chosen.place = fresh.n %% %(kinds)s join {table} t on t.{key} = chosen.id"
    ).format(
        hex=sql.SQL(_HEX),
        table=sql.Identifier(table),
        key=sql.Identifier(key),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_value(table, name, kind) for name, kind in columns),
    )


def _value(table: str, column: str, kind: str) -> sql.Composable:
    name = sql.Identifier(column)
    if table == "items" and column == "id":
        return sql.SQL("split_part(t.id, '_', 1) || '_' || left(fresh.hex, 12) || md5(t.id || fresh.hex) || '0000'")
    if kind == "text" and column not in {"project_id", "model", "lane", "tier", "status", "worker_id"}:
        return sql.SQL("replace(t.{}, substr(chosen.id, 6), fresh.hex)").format(name)
    if kind == "timestamp with time zone":
        return sql.SQL("t.{} - fresh.older").format(name)
    return sql.SQL("t.{}").format(name)

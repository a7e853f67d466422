"""Fills a database with copies of responses that really ran, so that every column is as the product wrote it."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

STORED = 100_000
WAITING = 5_000
# Columns that are equal in all copies of a row; in other text columns, the response's ID is replaced.
_SHARED = {"project_id", "model", "lane", "tier", "status", "worker_id"}
# 48 hexadecimal digits like the product's IDs, the first twelve from the time.
_HEX = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n || %(salt)s::text) || substr(md5('more' || n), 1, 4)"


def completed(stack: StockStack) -> list[str]:
    """Run responses of each model to completion on the stack; return their IDs."""
    with stack.client() as client:
        made = [
            client.responses.create(model=model, input=stack.models.script(tokens=tokens), background=True).id
            for model in ("narrow", "scripted")
            for tokens in (5, 40)
        ]
        until(lambda: all(client.responses.retrieve(one).status == "completed" for one in made))
    return made


def copy_ended(url: str, originals: Sequence[str], count: int) -> None:
    """Add `count` copies of ended responses, in turn, spread over the last 90 days.

    Their event logs count as deleted, like those of old responses. Statistics are not updated.

    Args:
        url: URL of a superuser.
    """
    _copy(url, ("responses",), originals, count, "90 days")


def copy_waiting(url: str, originals: Sequence[str], count: int) -> None:
    """Add `count` copies of waiting responses, in turn, with their events; see `copy_ended`."""
    _copy(url, ("responses", "response_events"), originals, count, "0 days")


def _copy(url: str, tables: Sequence[str], originals: Sequence[str], count: int, spread: str) -> None:
    """Copy rows without triggers and foreign keys, which the originals have already passed."""
    with psycopg.connect(url) as connection:
        connection.execute("set local session_replication_role = replica")
        for table in tables:
            connection.execute(
                _statement(connection, table),
                {"originals": list(originals), "count": count, "spread": spread, "salt": originals[0]},
            )


def _statement(connection: psycopg.Connection, table: str) -> sql.Composed:
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER'",
        (table,),
    ).fetchall()
    return sql.SQL(
        "with original as (select id, place - 1 as place, count(*) over () as kinds"
        " from unnest(%(originals)s::text[]) with ordinality as listed (id, place)),"
        " copy as (select n, {hex} as hex, n / %(count)s::float * %(spread)s::interval as older"
        " from generate_series(1, %(count)s) n)"
        " insert into {table} ({columns}) select {values} from copy"
        " join original on original.place = copy.n %% original.kinds join {table} t on t.{key} = original.id"
    ).format(
        hex=sql.SQL(_HEX),
        table=sql.Identifier(table),
        key=sql.Identifier("id" if table == "responses" else "response_id"),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_value(table, name, kind) for name, kind in columns),
    )


def _value(table: str, column: str, kind: str) -> sql.Composable:
    name = sql.Identifier(column)
    if column == "events_n":
        return sql.SQL(
            "case when t.finished_at is not null"
            " then (select max(first_seq + n) from response_events where response_id = t.id) end"
        )
    if kind == "text" and column not in _SHARED:
        return sql.SQL("replace(t.{}, substr(original.id, 6), copy.hex)").format(name)
    if kind == "timestamp with time zone":
        return sql.SQL("t.{} - copy.older").format(name)
    return sql.SQL("t.{}").format(name)

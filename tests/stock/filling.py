"""Fill a database with copies of completed responses, so that every column has a value written by the product."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

ENDED_COUNT = 100_000
WAITING_COUNT = 5_000
# Columns that are equal in all copies of a row; in other text columns, the response's ID is replaced.
_COPIED_COLUMNS = {"project_id", "model", "lane", "tier", "status", "worker_id"}
# An SQL expression for the 48 hexadecimal digits of an ID, which begin with a time of twelve digits, as in the product.
_ID_DIGITS = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n || %(salt)s::text) || substr(md5('more' || n), 1, 4)"


def create_completed_responses(stack: StockStack) -> list[str]:
    """Run responses of each model to completion on the stack; return their IDs."""
    with stack.client() as client:
        response_ids = [
            client.responses.create(model=model, input=stack.models.script(tokens=tokens), background=True).id
            for model in ("narrow", "scripted")
            for tokens in (5, 40)
        ]
        until(lambda: all(client.responses.retrieve(response_id).status == "completed" for response_id in response_ids))
    return response_ids


def copy_ended_responses(url: str, original_ids: Sequence[str], count: int) -> None:
    """Add `count` copies of ended responses, spread over the last 90 days.

    The copies have no event logs, like old responses. The statistics are not updated.

    Args:
        url: URL of the database for a superuser.
        original_ids: IDs of the responses to copy.
    """
    _copy(url, ("responses",), original_ids, count, "90 days")


def copy_waiting_responses(url: str, original_ids: Sequence[str], count: int) -> None:
    """Add `count` copies of waiting responses with their event logs; see `copy_ended_responses`."""
    _copy(url, ("responses", "response_events"), original_ids, count, "0 days")


def _copy(url: str, tables: Sequence[str], original_ids: Sequence[str], count: int, period: str) -> None:
    """Copy rows with triggers and foreign keys disabled, because the originals have already satisfied them."""
    with psycopg.connect(url) as connection:
        connection.execute("set local session_replication_role = replica")
        for table in tables:
            connection.execute(
                _copy_statement(connection, table),
                {"originals": list(original_ids), "count": count, "spread": period, "salt": original_ids[0]},
            )


def _copy_statement(connection: psycopg.Connection, table: str) -> sql.Composed:
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
        hex=sql.SQL(_ID_DIGITS),
        table=sql.Identifier(table),
        key=sql.Identifier("id" if table == "responses" else "response_id"),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_column_value(table, name, data_type) for name, data_type in columns),
    )


def _column_value(table: str, column: str, data_type: str) -> sql.Composable:
    """The SQL expression of a column's value in a copy."""
    name = sql.Identifier(column)
    if column == "events_n":
        return sql.SQL(
            "case when t.finished_at is not null"
            " then (select max(first_seq + n) from response_events where response_id = t.id) end"
        )
    if data_type == "text" and column not in _COPIED_COLUMNS:
        return sql.SQL("replace(t.{}, substr(original.id, 6), copy.hex)").format(name)
    if data_type == "timestamp with time zone":
        return sql.SQL("t.{} - copy.older").format(name)
    return sql.SQL("t.{}").format(name)

"""Fills a database with copies of responses, so that every column has a value that the product wrote."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

ENDED_COUNT = 100_000
WAITING_COUNT = 5_000
# Text columns that cannot contain the ID of their response.
_COLUMNS_WITHOUT_IDS = {"project_id", "model", "lane", "tier", "status", "worker_id"}
# SQL expression for the ID of copy `n`: 48 hex digits as in real IDs, the first 12 of which are a timestamp.
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
    _copy_rows(url, ("responses",), original_ids, count, "90 days")


def copy_waiting_responses(url: str, original_ids: Sequence[str], count: int) -> None:
    """Add `count` copies of waiting responses with their event logs; see `copy_ended_responses`."""
    _copy_rows(url, ("responses", "response_events"), original_ids, count, "0 days")


def _copy_rows(url: str, tables: Sequence[str], original_ids: Sequence[str], count: int, age_spread: str) -> None:
    """Copy rows with triggers and foreign keys disabled, because the original rows have passed them."""
    with psycopg.connect(url) as connection:
        connection.execute("set local session_replication_role = replica")
        for table in tables:
            connection.execute(
                _copy_statement(connection, table),
                {"original_ids": list(original_ids), "count": count, "age_spread": age_spread, "salt": original_ids[0]},
            )


def _copy_statement(connection: psycopg.Connection, table: str) -> sql.Composed:
    """Build the statement that copies rows of a table; a copy has the same new ID and the same age in all tables."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER'",
        (table,),
    ).fetchall()
    return sql.SQL(
        "with originals as (select id, ordinal - 1 as index, count(*) over () as original_count"
        " from unnest(%(original_ids)s::text[]) with ordinality as original (id, ordinal)),"
        " copies as (select n, {hex} as hex, n / %(count)s::float * %(age_spread)s::interval as age"
        " from generate_series(1, %(count)s) n)"
        " insert into {table} ({columns}) select {values} from copies"
        " join originals on originals.index = copies.n %% originals.original_count"
        " join {table} original_row on original_row.{key} = originals.id"
    ).format(
        hex=sql.SQL(_ID_DIGITS),
        table=sql.Identifier(table),
        key=sql.Identifier("id" if table == "responses" else "response_id"),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_column_expression(table, name, data_type) for name, data_type in columns),
    )


def _column_expression(table: str, column: str, data_type: str) -> sql.Composable:
    """Build the SQL expression for the value of a column in a copied row."""
    name = sql.Identifier(column)
    if column == "events_n":
        return sql.SQL(
            "case when original_row.finished_at is not null"
            " then (select max(first_seq + n) from response_events where response_id = original_row.id) end"
        )
    if data_type == "text" and column not in _COLUMNS_WITHOUT_IDS:
        return sql.SQL("replace(original_row.{}, substr(originals.id, 6), copies.hex)").format(name)
    if data_type == "timestamp with time zone":
        return sql.SQL("original_row.{} - copies.age").format(name)
    return sql.SQL("original_row.{}").format(name)

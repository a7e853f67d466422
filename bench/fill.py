"""Fills a database with many responses by copying the rows that the product wrote for a few real responses."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import psycopg
from psycopg import sql

from bench.client import Client
from bench.deployment import Deployment, background_body

# Models of the originals. Their outputs have different lengths and consist of one or several batches of events.
TEMPLATE_MODELS = ("20-tokens-at-once", "20-tokens-at-once", "60-tokens-every-10ms", "200-tokens-at-once")
_BATCH_ROWS = 50_000
_AGE_SPREAD = "90 days"
_FIRST_WAITING_NUMBER = 10_000_000
# Waiting copies must not be old enough to have passed a deadline.
_WAITING_AGE_SPREAD = "10 minutes"
_PROJECTS = 4
_TIERS = ("no-limit", "default", "flex")
# SQL expression for the IDs of the copies: 48 hex digits as in real IDs, the first 12 of them a timestamp.
_ID_EXPRESSION = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n::text) || substr(md5('more' || n), 1, 4)"


class ResponseDatabase(Protocol):
    """A deployment or system with its own database of responses."""

    @property
    def database_url(self) -> str: ...


def create_templates(deployment: Deployment) -> None:
    """Create the responses to copy, wait until they have ended, and stop the worker."""
    deployment.start("worker")
    for model in TEMPLATE_MODELS:
        deployment.call("POST", "/responses", background_body(model, "Say something about the weather. " * 20))
    deployment.wait_until_ended(len(TEMPLATE_MODELS))
    deployment.stop("worker")


def fill(deployment: Deployment, total: int) -> None:
    """Add copies until `total` responses exist, with their events, attempts and items."""
    existing_count = deployment.count_ended()
    newest_rows = deployment.sql(
        "select id from responses order by created_at desc, id desc limit %s", len(TEMPLATE_MODELS)
    )
    add_copies(deployment, [str(row[0]) for row in newest_rows][::-1], existing_count, total, _AGE_SPREAD)


def add_waiting(deployment: Deployment, count: int, models: Sequence[str] = TEMPLATE_MODELS) -> None:
    """Add `count` waiting responses of several projects, tiers and models. No worker may be running."""
    with deployment.core() as core:
        keys = [core.keys.create({"no-limit"}, f"project-{n}") for n in range(_PROJECTS)]
    original_ids = []
    for key in keys:
        with Client(deployment.port, key) as client:
            for tier in _TIERS:
                for model in sorted({*models}):
                    body = background_body(model, "Say something about the weather. " * 20) | {"service_tier": tier}
                    original_ids.append(str(client.post("/responses", body)["id"]))
    end = _FIRST_WAITING_NUMBER + count - len(original_ids)
    add_copies(deployment, original_ids, _FIRST_WAITING_NUMBER, end, _WAITING_AGE_SPREAD)


def add_copies(
    deployment: ResponseDatabase, original_ids: Sequence[str], first: int, end: int, age_spread: str
) -> None:
    """Add copies of responses with their events, attempts and items, numbered from `first` to `end - 1`.

    Two connections fill, vacuum and analyze the tables. One of them fills only the table of events, which has most of
    the data.

    Args:
        original_ids: IDs of the responses to copy, in turn.
        age_spread: maximum age of a copy relative to its original, as a Postgres interval.
    """
    table_groups = (("response_events",), ("responses", "attempts", "items"))
    with ThreadPoolExecutor(len(table_groups)) as threads:
        futures = [
            threads.submit(_copy_rows, deployment, tables, original_ids, first, end, age_spread)
            for tables in table_groups
        ]
        for future in futures:
            future.result()


def _copy_rows(
    deployment: ResponseDatabase,
    tables: Sequence[str],
    original_ids: Sequence[str],
    first: int,
    end: int,
    age_spread: str,
) -> None:
    """Copy rows of tables without triggers and foreign key checks, which the originals have already passed."""
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for start in range(first, end, _BATCH_ROWS):
            last = min(end, start + _BATCH_ROWS) - 1
            parameters = {
                "originals": list(original_ids),
                "kinds": len(original_ids),
                "first": start,
                "last": last,
                "spread": age_spread,
            }
            for table in tables:
                connection.execute(_copy_statement(connection, table), parameters)
        for table in tables:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))


def random_ids(deployment: Deployment, count: int) -> list[str]:
    """Return the IDs of `count` copies, chosen at random from the entire table."""
    last_number = deployment.count_ended() - 1
    rows = deployment.sql(
        f"select 'resp_' || {_ID_EXPRESSION} from"  # noqa: S608
        " (select %s + (random() * %s)::bigint as n from generate_series(1, %s)) chosen",
        len(TEMPLATE_MODELS),
        last_number - len(TEMPLATE_MODELS),
        count,
    )
    return [str(row[0]) for row in rows]


def _copy_statement(connection: psycopg.Connection, table: str) -> sql.Composed:
    """Build the statement that copies rows of a table with new IDs and times that are the same in all tables."""
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
        hex=sql.SQL(_ID_EXPRESSION),
        table=sql.Identifier(table),
        key=sql.Identifier(key),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_column_expression(table, name, data_type) for name, data_type in columns),
    )


def _column_expression(table: str, column: str, data_type: str) -> sql.Composable:
    """Build the expression for the value of a column in a copy."""
    name = sql.Identifier(column)
    if table == "items" and column == "id":
        return sql.SQL("split_part(t.id, '_', 1) || '_' || left(fresh.hex, 12) || md5(t.id || fresh.hex) || '0000'")
    if data_type == "text" and column not in {"project_id", "model", "lane", "tier", "status", "worker_id"}:
        return sql.SQL("replace(t.{}, substr(chosen.id, 6), fresh.hex)").format(name)
    if data_type == "timestamp with time zone":
        return sql.SQL("t.{} - fresh.older").format(name)
    return sql.SQL("t.{}").format(name)

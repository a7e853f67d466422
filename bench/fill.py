"""Fills a database with many responses by copying the rows that the product wrote for a few real responses."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import psycopg
from psycopg import sql

from bench.client import Client
from bench.deployment import Deployment, background_body

# Models of the responses to copy. Their outputs have different lengths and consist of one or several event batches.
TEMPLATE_MODELS = ("20-tokens-at-once", "20-tokens-at-once", "60-tokens-every-10ms", "200-tokens-at-once")
_BATCH_ROWS = 50_000
_AGE_SPREAD = "90 days"
# Number of the first waiting copy, above the numbers of all copies of ended responses.
_FIRST_WAITING_NUMBER = 10_000_000
# Waiting copies must not be old enough to have passed a deadline.
_WAITING_AGE_SPREAD = "10 minutes"
_PROJECT_COUNT = 4
_TIERS = ("no-limit", "default", "flex")
# Text columns that cannot contain the ID of their response.
_COLUMNS_WITHOUT_IDS = frozenset({"project_id", "model", "lane", "tier", "status", "worker_id"})
# SQL expression for the ID of copy `n`: 48 hex digits as in real IDs, the first 12 of which are a timestamp.
_ID_EXPRESSION = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n::text) || substr(md5('more' || n), 1, 4)"


class ResponseDatabase(Protocol):
    """A `Deployment` or a `System`, of which only the database of responses is used."""

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
    """Add copies of the newest responses, with their events, attempts and items, until `total` responses exist."""
    existing_count = deployment.count_ended()
    newest_rows = deployment.sql(
        "select id from responses order by created_at desc, id desc limit %s", len(TEMPLATE_MODELS)
    )
    add_copies(deployment, [str(row[0]) for row in newest_rows][::-1], existing_count, total, _AGE_SPREAD)


def add_waiting(deployment: Deployment, count: int, models: Sequence[str] = TEMPLATE_MODELS) -> None:
    """Add `count` waiting responses of several projects, tiers and models. No worker may be running."""
    with deployment.core() as core:
        keys = [core.keys.create({"no-limit"}, f"project-{n}") for n in range(_PROJECT_COUNT)]
    original_ids = []
    for key in keys:
        with Client(deployment.port, key) as client:
            for tier in _TIERS:
                for model in sorted({*models}):
                    body = background_body(model, "Say something about the weather. " * 20) | {"service_tier": tier}
                    original_ids.append(str(client.post("/responses", body)["id"]))
    end = _FIRST_WAITING_NUMBER + count - len(original_ids)
    add_copies(deployment, original_ids, _FIRST_WAITING_NUMBER, end, _WAITING_AGE_SPREAD)


def add_copies(database: ResponseDatabase, original_ids: Sequence[str], first: int, end: int, age_spread: str) -> None:
    """Add copies of responses with their events, attempts and items, numbered from `first` to `end - 1`.

    Two connections fill, vacuum and analyze the tables concurrently. One of them fills only the table of events, which
    has most of the data.

    Args:
        original_ids: IDs of the responses to copy, in turn.
        age_spread: maximum age of a copy relative to its original, as a Postgres interval.
    """
    table_groups = (("response_events",), ("responses", "attempts", "items"))
    with ThreadPoolExecutor(len(table_groups)) as threads:
        futures = [
            threads.submit(_copy_rows, database, tables, original_ids, first, end, age_spread)
            for tables in table_groups
        ]
        for future in futures:
            future.result()


def _copy_rows(
    database: ResponseDatabase,
    tables: Sequence[str],
    original_ids: Sequence[str],
    first: int,
    end: int,
    age_spread: str,
) -> None:
    """Copy rows with triggers and foreign key checks disabled, because the original rows have passed them."""
    with psycopg.connect(database.database_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for start in range(first, end, _BATCH_ROWS):
            last = min(end, start + _BATCH_ROWS) - 1
            parameters = {
                "original_ids": list(original_ids),
                "original_count": len(original_ids),
                "first": start,
                "last": last,
                "age_spread": age_spread,
            }
            for table in tables:
                connection.execute(_copy_statement(connection, table), parameters)
        for table in tables:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))


def choose_random_ids(deployment: Deployment, count: int) -> list[str]:
    """Return the IDs of `count` copies, chosen at random from the entire table."""
    last_number = deployment.count_ended() - 1
    rows = deployment.sql(
        f"select 'resp_' || {_ID_EXPRESSION} from"  # noqa: S608
        " (select %s + (random() * %s)::bigint as n from generate_series(1, %s)) numbers",
        len(TEMPLATE_MODELS),
        last_number - len(TEMPLATE_MODELS),
        count,
    )
    return [str(row[0]) for row in rows]


def _copy_statement(connection: psycopg.Connection, table: str) -> sql.Composed:
    """Build the statement that copies rows of a table; a copy has the same new ID and the same age in all tables."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER'"
        " order by ordinal_position",
        (table,),
    ).fetchall()
    key = "id" if table == "responses" else "response_id"
    return sql.SQL(
        "with originals as (select id, ordinal - 1 as index from unnest(%(original_ids)s::text[])"
        " with ordinality as original (id, ordinal)),"
        # Multiplication by a prime number gives consecutive copies very different ages.
        " copies as (select n, {hex} as hex, (1 + n * 7919 %% 1000) / 1000.0 * %(age_spread)s::interval as age"
        " from generate_series(%(first)s::bigint, %(last)s::bigint) n)"
        " insert into {table} ({columns}) select {values} from copies"
        " join originals on originals.index = copies.n %% %(original_count)s"
        " join {table} original_row on original_row.{key} = originals.id"
    ).format(
        hex=sql.SQL(_ID_EXPRESSION),
        table=sql.Identifier(table),
        key=sql.Identifier(key),
        columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        values=sql.SQL(", ").join(_column_expression(table, name, data_type) for name, data_type in columns),
    )


def _column_expression(table: str, column: str, data_type: str) -> sql.Composable:
    """Build the SQL expression for the value of a column in a copied row."""
    name = sql.Identifier(column)
    if table == "items" and column == "id":
        return sql.SQL(
            "split_part(original_row.id, '_', 1) || '_' || left(copies.hex, 12)"
            " || md5(original_row.id || copies.hex) || '0000'"
        )
    if data_type == "text" and column not in _COLUMNS_WITHOUT_IDS:
        return sql.SQL("replace(original_row.{}, substr(originals.id, 6), copies.hex)").format(name)
    if data_type == "timestamp with time zone":
        return sql.SQL("original_row.{} - copies.age").format(name)
    return sql.SQL("original_row.{}").format(name)

"""Many stored responses, made from a few real ones: every column of every table as the product wrote it."""

from psycopg import sql

from bench.deployment import Deployment, background

# Answers of several lengths, in one batch of events and in several.
TEMPLATES = ("20-tokens-at-once", "20-tokens-at-once", "60-tokens-every-10ms", "200-tokens-at-once")
_STEP = 50_000
_SPREAD = "90 days"
# How the copies' IDs are made: 48 hex digits like ours, the first 12 of the time.
_HEX = "lpad(to_hex(1700000000000 + n), 12, '0') || md5(n::text) || substr(md5('more' || n), 1, 4)"


def templates(deployment: Deployment) -> None:
    """Run the responses that are copied to their end; afterwards no worker runs."""
    deployment.start("worker")
    for model in TEMPLATES:
        deployment.call("POST", "/responses", background(model, "Say something about the weather. " * 20))
    deployment.wait_until_ended(len(TEMPLATES))
    deployment.stop("worker")


def fill(deployment: Deployment, stored: int) -> None:
    """Add copies until so many responses are stored, with their events, attempts and items."""
    have = deployment.ended()
    while have < stored:
        upto = min(stored, have + _STEP)
        for table in ("responses", "response_events", "attempts", "items"):
            deployment.execute(_copies(deployment, table), {"first": have, "last": upto - 1, "kinds": len(TEMPLATES)})
        have = upto
    deployment.tidy()


def some_ids(deployment: Deployment, count: int) -> list[str]:
    """IDs of copies, from all over the table."""
    last = deployment.ended() - 1
    rows = deployment.sql(
        f"select 'resp_' || {_HEX} from (select %s + (random() * %s)::bigint as n from generate_series(1, %s)) chosen",  # noqa: S608
        len(TEMPLATES),
        last - len(TEMPLATES),
        count,
    )
    return [str(row[0]) for row in rows]


def _copies(deployment: Deployment, table: str) -> sql.Composed:
    """The statement that copies the templates' rows of a table, with IDs of their own and at times of their own.

    Triggers and foreign keys are left out: what is copied has passed them, and the copies fit each other.
    """
    columns = deployment.sql(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER'"
        " order by ordinal_position",
        table,
    )
    key = "id" if table == "responses" else "response_id"
    return sql.SQL(
        "with chosen as (select id, row_number() over (order by created_at, id) - 1 as place from responses"
        " where id in (select id from responses order by created_at desc, id desc limit %(kinds)s)),"
        " fresh as (select n, {hex} as hex, (1 + n * 7919 %% 1000) / 1000.0 * interval {spread} as older"
        " from generate_series(%(first)s::bigint, %(last)s::bigint) n)"
        " insert into {table} ({columns}) select {values} from fresh"
        " join chosen on chosen.place = fresh.n %% %(kinds)s join {table} t on t.{key} = chosen.id"
    ).format(
        hex=sql.SQL(_HEX),
        spread=sql.Literal(_SPREAD),
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

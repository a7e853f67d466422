"""SQL of the usage ledger: one row per ended response, inserted when it ends and not deleted with the response."""

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import class_row, dict_row

from core.allowance import Cost, Settlement
from core.database import Connection

# The credits taken in the last minute: the credits reserved by unfinished responses, plus the credits that ended
# responses have been charged.
_RECENT_COSTS = """
with recent_costs (created_at, requests, tokens) as (
    select created_at, reserved_requests, reserved_tokens from responses
    where project_id = %(project_id)s and model = %(model)s and finished_at is null
        and created_at > now() - interval '1 minute' and reserved_requests > 0
    union all
    select created_at, reserved_requests, charged_tokens from usage_ledger
    where project_id = %(project_id)s and model = %(model)s
        and created_at > now() - interval '1 minute' and reserved_requests > 0
)
{query}
"""
_SUM_RECENT_COSTS = _RECENT_COSTS.format(
    query="select coalesce(sum(requests), 0)::bigint, coalesce(sum(tokens), 0)::bigint from recent_costs"
)
# The oldest responses leave the one-minute window first.
_WAIT_FOR_CREDITS = _RECENT_COSTS.format(
    query="""
select extract(epoch from created_at + interval '1 minute' - now()) from (
    select created_at, sum(requests) over oldest as requests, coalesce(sum(tokens) over oldest, 0) as tokens
    from recent_costs window oldest as (order by created_at)) returned_credits
where requests >= %(requests)s and tokens >= %(tokens)s order by created_at limit 1
"""
)


def recent_cost(connection: Connection, project_id: str, model: str) -> Cost:
    """Return the credits of the responses that a project created for a model in the last minute."""
    row = connection.execute(_SUM_RECENT_COSTS, {"project_id": project_id, "model": model}).fetchone()
    assert row is not None
    return Cost(int(row[0]), int(row[1]))


def wait_for_credits_s(connection: Connection, project_id: str, model: str, shortfall: Cost) -> float:
    """Return the seconds until `shortfall` credits have left the window of the last minute; at most 60."""
    values = {
        "project_id": project_id,
        "model": model,
        "requests": shortfall.requests,
        "tokens": shortfall.tokens,
    }
    row = connection.execute(_WAIT_FOR_CREDITS, values).fetchone()
    return 60.0 if row is None else float(row[0])


def list_unsettled(connection: Connection, limit: int) -> list[Settlement]:
    """List up to `limit` ended responses that were charged another number of tokens than they used."""
    with connection.cursor(row_factory=class_row(Settlement)) as cursor:
        cursor.execute(
            "select l.response_id, l.project_id, coalesce(p.name, '') as project, l.model, l.charged_tokens as charged,"
            " l.input_tokens + l.output_tokens as used"
            " from usage_ledger l left join projects p on p.id = l.project_id"
            " where l.charged_tokens <> l.input_tokens + l.output_tokens order by l.response_id limit %s",
            (limit,),
        )
        return cursor.fetchall()


def mark_settled(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Record the used tokens as charged, except in rows that another process has changed meanwhile."""
    connection.execute(
        "update usage_ledger l set charged_tokens = s.used"
        " from unnest(%s::text[], %s::bigint[], %s::bigint[]) as s (id, charged, used)"
        " where l.response_id = s.id and l.charged_tokens = s.charged",
        (
            [settlement.response_id for settlement in settlements],
            [settlement.charged for settlement in settlements],
            [settlement.used for settlement in settlements],
        ),
    )


_COLUMNS: dict[str, LiteralString] = {
    "project": "coalesce(p.name, l.project_id)",
    "key": "coalesce(l.key_id, '')",
    "model": "l.model",
    "tier": "l.tier",
    "day": "l.day",
}
BY = tuple(_COLUMNS)

_USAGE: LiteralString = """
select {columns} count(*) as requests, sum(l.attempts)::bigint as attempts,
    sum(l.input_tokens)::bigint as input_tokens, sum(l.cached_tokens)::bigint as cached_tokens,
    sum(l.output_tokens)::bigint as output_tokens, sum(l.reasoning_tokens)::bigint as reasoning_tokens,
    count(*) filter (where l.usage_estimated) as estimated
from usage_ledger l left join projects p on p.id = l.project_id
where (%(project)s::text is null or p.name = %(project)s)
    and (%(since)s::date is null or l.day >= %(since)s) and (%(until)s::date is null or l.day <= %(until)s)
{groups}
"""


def usage(
    connection: Connection, columns: Sequence[str], *, project: str | None, since: date | None, until: date | None
) -> list[dict[str, Any]]:
    """Return the usage grouped and ordered by `columns`, one dict per group.

    Args:
        columns: names from `GROUP_COLUMNS`.
        project: only usage of the project with this name.
        since: the first day (UTC) on which responses ended.
        until: the last day, inclusive.
    """
    named_columns = [sql.SQL("{} as {}").format(sql.SQL(_COLUMNS[name]), sql.Identifier(name)) for name in columns]
    group_expressions = sql.SQL(", ").join(sql.SQL(_COLUMNS[name]) for name in columns)
    query = sql.SQL(_USAGE).format(
        columns=sql.SQL("").join(column + sql.SQL(", ") for column in named_columns),
        groups=sql.SQL("group by {0} order by {0}").format(group_expressions)
        if columns
        else sql.SQL("having count(*) > 0"),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, {"project": project, "since": since, "until": until})
        return cursor.fetchall()

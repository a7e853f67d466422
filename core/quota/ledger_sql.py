"""SQL of the usage ledger: one row per ended response, inserted when it ends and not deleted with the response.

The statements for credits are hand-written, because create requests run them; the statement of the usage report is not.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

import sqlalchemy as sa
from psycopg.rows import class_row

from core.allowance import Cost, Settlement
from core.database import Connection
from core.jsonio import JsonObject
from core.tables.projects import projects, usage_ledger
from core.tables.statement import Statement

_SUMMED_COLUMNS = ("attempts", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")

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
    """Return the seconds until at least `shortfall` credits have left the one-minute window; at most 60."""
    values = {
        "project_id": project_id,
        "model": model,
        "requests": shortfall.requests,
        "tokens": shortfall.tokens,
    }
    row = connection.execute(_WAIT_FOR_CREDITS, values).fetchone()
    return 60.0 if row is None else float(row[0])


def list_unsettled(connection: Connection, limit: int) -> list[Settlement]:
    """List up to `limit` ended responses for which the charged tokens differ from the used tokens."""
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
    """Record the used tokens as charged, except in rows that another process has changed in the meantime."""
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


_GROUPS: Mapping[str, sa.ColumnElement[Any]] = {
    "project": sa.func.coalesce(projects.c.name, usage_ledger.c.project_id),
    "key": sa.func.coalesce(usage_ledger.c.key_id, sa.literal_column("''")),
    "model": usage_ledger.c.model,
    "tier": usage_ledger.c.tier,
    "day": usage_ledger.c.day,
}
GROUP_COLUMNS = tuple(_GROUPS)


def _sum_column(column: sa.Column[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(column), sa.BigInteger).label(column.name)


@cache
def _usage_statement(columns: tuple[str, ...], filters: frozenset[str]) -> Statement:
    """Return the statement that sums usage grouped by `columns`, restricted by the conditions named in `filters`."""
    conditions = {
        "project": projects.c.name == sa.bindparam("project"),
        "since": usage_ledger.c.day >= sa.bindparam("since"),
        "until": usage_ledger.c.day <= sa.bindparam("until"),
    }
    groups = [_GROUPS[name] for name in columns]
    usage = (
        sa.select(
            *(group.label(name) for name, group in zip(columns, groups, strict=True)),
            sa.func.count().label("requests"),
            *(_sum_column(usage_ledger.c[name]) for name in _SUMMED_COLUMNS),
            sa.func.count().filter(usage_ledger.c.usage_estimated).label("estimated"),
        )
        .join_from(usage_ledger, projects, projects.c.id == usage_ledger.c.project_id, isouter=True)
        .where(*(conditions[name] for name in sorted(filters)))
    )
    return Statement(usage.group_by(*groups).order_by(*groups) if columns else usage.having(sa.func.count() > 0))


def usage(
    connection: Connection, columns: Sequence[str], *, project: str | None, since: date | None, until: date | None
) -> list[JsonObject]:
    """Return the usage grouped and ordered by `columns`, one dictionary per group.

    Args:
        columns: names from `GROUP_COLUMNS`.
        project: only usage of the project with this name.
        since: the first day (UTC) on which responses ended.
        until: the last day, inclusive.
    """
    values = {"project": project, "since": since, "until": until}
    filters = {name: value for name, value in values.items() if value is not None}
    statement = _usage_statement(tuple(columns), frozenset(filters))
    return statement.fetch_all(connection, JsonObject, **filters)

"""SQL that lists a project's responses, one page at a time."""

from collections.abc import Mapping
from functools import cache

import sqlalchemy as sa

from core import jsonio
from core.database import Connection
from core.responses.responses_sql import StoredResponse
from core.tables.responses import responses
from core.tables.statement import Statement


@cache
def _page_statement(*, descending: bool, filters: frozenset[str]) -> Statement:
    """Return the statement that reads one page; `filters` may contain `after`, `status`, `model` and `metadata`."""
    order = (responses.c.created_at, responses.c.id)
    sort_key = sa.tuple_(*order)
    previous = responses.alias("last")
    previous_key = (
        sa.select(previous.c.created_at, previous.c.id).where(previous.c.id == sa.bindparam("after")).scalar_subquery()
    )
    conditions = {
        "after": sort_key < previous_key if descending else sort_key > previous_key,
        "status": responses.c.status == sa.bindparam("status"),
        "model": responses.c.model == sa.bindparam("model"),
        "metadata": responses.c.metadata.contains(sa.bindparam("metadata", type_=responses.c.metadata.type)),
    }
    return Statement(
        sa.select(responses.c.id, responses.c.status, responses.c.background, responses.c.document)
        .where(
            responses.c.project_id == sa.bindparam("project_id"),
            responses.c.stored,
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(*(column.desc() if descending else column for column in order))
        .limit(sa.bindparam("limit", type_=sa.BigInteger))
    )


def page(
    connection: Connection,
    project_id: str,
    *,
    limit: int,
    descending: bool,
    after: str | None = None,
    status: str | None = None,
    model: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> list[StoredResponse]:
    """Return up to `limit` of a project's stored responses by creation time, starting after the response `after`."""
    filters: dict[str, str] = {
        name: value for name, value in {"after": after, "status": status, "model": model}.items() if value is not None
    }
    if metadata:
        filters["metadata"] = jsonio.dumps(dict(metadata))
    statement = _page_statement(descending=descending, filters=frozenset(filters))
    return statement.fetch_all(connection, StoredResponse, project_id=project_id, limit=limit, **filters)

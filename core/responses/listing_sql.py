"""SQL that lists a project's responses, one page at a time."""

from collections.abc import Mapping

from psycopg import sql
from psycopg.rows import class_row

from core import jsonio
from core.database import Connection
from core.responses.responses_sql import Found


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
) -> list[Found]:
    """Up to `limit` of a project's stored responses by creation time, starting after the response `after`."""
    clauses: list[sql.Composable] = [sql.SQL("project_id = %(project_id)s and stored")]
    if status is not None:
        clauses.append(sql.SQL("status = %(status)s"))
    if model is not None:
        clauses.append(sql.SQL("model = %(model)s"))
    if metadata:
        clauses.append(sql.SQL("metadata @> %(metadata)s::jsonb"))
    if after is not None:
        clauses.append(
            sql.SQL("(created_at, id) {} (select created_at, id from responses where id = %(after)s)").format(
                sql.SQL("<" if descending else ">")
            )
        )
    order = sql.SQL("desc" if descending else "asc")
    query = sql.SQL(
        "select id, status, background, document from responses where {clauses}"
        " order by created_at {order}, id {order} limit %(limit)s"
    ).format(clauses=sql.SQL(" and ").join(clauses), order=order)
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        cursor.execute(
            query,
            {
                "project_id": project_id,
                "status": status,
                "model": model,
                "metadata": jsonio.dumps(dict(metadata or {})),
                "after": after,
                "limit": limit,
            },
        )
        return cursor.fetchall()

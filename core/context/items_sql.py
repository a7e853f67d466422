"""SQL of the table `items`, which records the responses that contain an item.

Hand-written, because every end of a response and every request with item references runs it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection


def insert(connection: Connection, rows: Sequence[tuple[str, str, str]]) -> None:
    """Record the response of each item.

    Args:
        rows: project ID, item ID and response ID of each item.
    """
    if rows:
        connection.execute(
            "insert into items (project_id, id, response_id)"
            " select * from unnest(%s::text[], %s::text[], %s::text[]) as item_rows (project_id, item_id, response_id)"
            " order by project_id, item_id on conflict do nothing",
            [list(column) for column in zip(*rows, strict=True)],
        )


@dataclass(frozen=True)
class Owner:
    """A response that contains searched items, and the IDs of these items."""

    response_id: str
    item_ids: list[str]
    request: str
    document: str


_OWNERS = """
with newest as (
    select distinct on (i.id) i.id, i.response_id from items i join responses r on r.id = i.response_id
    where i.project_id = %s and i.id = any (%s) and r.stored order by i.id, r.created_at desc
), owners as (
    select response_id, array_agg(id) as item_ids from newest group by response_id limit %s
)
select r.id as response_id, o.item_ids, r.request, r.document from owners o join responses r on r.id = o.response_id
"""


def find_owners(connection: Connection, project_id: str, item_ids: Collection[str], *, limit: int) -> list[Owner]:
    """Find the newest stored response of each item; return up to `limit` responses."""
    with connection.cursor(row_factory=class_row(Owner)) as cursor:
        cursor.execute(_OWNERS, (project_id, list(item_ids), limit))
        return cursor.fetchall()


def list_ids(connection: Connection, response_id: str) -> set[str]:
    """Return the IDs of the items that are recorded for a response."""
    rows = connection.execute("select id from items where response_id = %s", (response_id,))
    return {str(row[0]) for row in rows}

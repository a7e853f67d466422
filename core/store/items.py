"""Where items are found by their IDs."""

from collections.abc import Collection

from core.db import Connection


def insert(connection: Connection, project_id: str, response_id: str, item_ids: Collection[str]) -> None:
    """Say that these items are a response's."""
    if item_ids:
        connection.execute(
            "insert into items (project_id, id, response_id)"
            " select %s, item_id, %s from unnest(%s::text[]) as own (item_id) order by item_id"
            " on conflict do nothing",
            (project_id, response_id, list(item_ids)),
        )


def owners(connection: Connection, project_id: str, item_ids: Collection[str]) -> list[tuple[str, str]]:
    """(request, document) of the newest stored response that each of these items is of."""
    rows = connection.execute(
        "select distinct on (i.id) i.id, r.request, r.document from items i join responses r on r.id = i.response_id"
        " where i.project_id = %s and i.id = any (%s) and r.stored order by i.id, r.created_at desc",
        (project_id, list(item_ids)),
    )
    return [(str(row[1]), str(row[2])) for row in rows]

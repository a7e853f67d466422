"""SQL of contents: large parts of requests, each stored once per project while a response refers to it.

Hand-written, because every request with images, files or large fields runs it.
"""

import contextlib
from collections.abc import Collection, Mapping

from psycopg.errors import LockNotAvailable

from core.database import Connection

# Maximum number of contents per statement that reads contents.
_READ_BATCH_SIZE = 8
# How often an insert waits, each time up to `lock_timeout`, for a transaction that inserts the same content: that
# transaction may insert many other contents before it is committed.
_MAX_LOCK_WAITS = 8


def insert(connection: Connection, project_id: str, contents: Mapping[str, str]) -> None:
    """Insert contents by their SHA-256 in hex; existing contents do not change.

    The connection must be in a transaction. Existing contents are locked, so that they are not deleted before a
    response refers to them. A content that another transaction inserts concurrently is not locked, and may be deleted;
    `insert_references` then fails.
    """
    if not contents:
        return
    rows = connection.execute(
        "select id from contents where project_id = %s and id = any (%s) order by id for key share",
        (project_id, list(contents)),
    )
    existing_ids = {str(row[0]) for row in rows}
    for content_id in sorted(contents.keys() - existing_ids):
        for _ in range(_MAX_LOCK_WAITS - 1):
            with contextlib.suppress(LockNotAvailable), connection.transaction():
                _insert_content(connection, project_id, content_id, contents[content_id])
                break
        else:  # the last attempt, which raises LockNotAvailable if it fails too
            _insert_content(connection, project_id, content_id, contents[content_id])


def _insert_content(connection: Connection, project_id: str, content_id: str, text: str) -> None:
    # One statement for each content, because the time of a statement is limited.
    connection.execute(
        "insert into contents (project_id, id, data) values (%s, %s, %b::text) on conflict do nothing",
        (project_id, content_id, text),
    )


def insert_references(connection: Connection, project_id: str, response_id: str, content_ids: Collection[str]) -> None:
    """Record that a response refers to these contents.

    Raises:
        psycopg.errors.ForeignKeyViolation: a content has just been deleted; the caller must repeat the transaction.
    """
    if content_ids:
        connection.execute(
            "insert into response_contents (response_id, project_id, content_id)"
            " select %s, %s, id from unnest(%s::text[]) as content_ids (id) order by id",
            (response_id, project_id, list(content_ids)),
        )


def copy_references(connection: Connection, source_id: str, response_id: str) -> None:
    """Record that a response refers to the same contents as a source response, which the caller has locked."""
    connection.execute(
        "insert into response_contents (response_id, project_id, content_id)"
        " select %s, project_id, content_id from response_contents where response_id = %s order by content_id",
        (response_id, source_id),
    )


def read(connection: Connection, response_id: str, content_ids: Collection[str]) -> dict[str, str]:
    """Read contents of a response, by ID; IDs to which the response does not refer are omitted."""
    ids, contents = sorted(content_ids), dict[str, str]()
    for start in range(0, len(ids), _READ_BATCH_SIZE):
        rows = connection.execute(
            "select c.id, c.data from response_contents r join contents c on c.project_id = r.project_id"
            " and c.id = r.content_id where r.response_id = %s and r.content_id = any (%s)",
            (response_id, ids[start : start + _READ_BATCH_SIZE]),
        )
        contents |= {str(row[0]): str(row[1]) for row in rows}
    return contents


def read_sizes(connection: Connection, response_id: str) -> dict[str, int]:
    """Return the size in bytes of each content that a response refers to, by ID."""
    rows = connection.execute(
        "select c.id, octet_length(c.data) from response_contents r join contents c on c.project_id = r.project_id"
        " and c.id = r.content_id where r.response_id = %s",
        (response_id,),
    )
    return {str(row[0]): int(row[1]) for row in rows}


# The entry of a content remains in `released_contents` while another transaction has locked the content to refer to it:
# if that transaction rolled back, nothing would add the entry again.
_DELETE_RELEASED = """
with listed as (
    select id, project_id, content_id from released_contents order by id limit %(limit)s for update skip locked
), unused as (
    select c.project_id, c.id from contents c
    where (c.project_id, c.id) in (select project_id, content_id from listed)
        and not exists (select from response_contents r where r.project_id = c.project_id and r.content_id = c.id)
    for update skip locked
), deleted as (
    delete from contents c using unused u where c.project_id = u.project_id and c.id = u.id
    returning c.project_id, c.id
)
delete from released_contents l using listed
where l.id = listed.id and (
    exists (select from deleted d where d.project_id = listed.project_id and d.id = listed.content_id)
    or exists (select from response_contents r
               where r.project_id = listed.project_id and r.content_id = listed.content_id)
    or not exists (select from contents c where c.project_id = listed.project_id and c.id = listed.content_id))
"""


def delete_released(connection: Connection, limit: int) -> int:
    """Delete released contents to which no response refers; return the number of removed entries of the table.

    Args:
        limit: maximum number of entries of `released_contents` to process.

    Raises:
        psycopg.errors.ForeignKeyViolation: a response has just referred to a content. Nothing is deleted.
    """
    return connection.execute(_DELETE_RELEASED, {"limit": limit}).rowcount

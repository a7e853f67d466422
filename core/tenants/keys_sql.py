"""SQL of API keys and of their access to projects."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Caller:
    """An authenticated key, the project in which it acts, and its rights."""

    key_id: str
    project_id: str
    project: str  # the name of the project
    rights: Collection[str]
    projects: tuple[str, ...]  # IDs of all projects the key has access to, its own first


@dataclass(frozen=True)
class Holder:
    """A key as stored, with the projects it has access to, its own first."""

    key_id: str
    hash: bytes
    rights: list[str]
    project_ids: list[str]
    project_names: list[str]


def find_holder(connection: Connection, hashed: bytes) -> Holder | None:
    """Return the key with this hash; None if it is unknown or revoked."""
    with connection.cursor(row_factory=class_row(Holder)) as cursor:
        cursor.execute(
            "select k.id as key_id, k.hash, k.rights,"
            " array_agg(p.id order by p.id <> k.project_id, p.id) as project_ids,"
            " array_agg(p.name order by p.id <> k.project_id, p.id) as project_names"
            " from api_keys k join projects p on p.id = k.project_id"
            "     or p.id in (select project_id from api_key_projects where key_id = k.id)"
            " where k.hash = %s and k.revoked_at is null group by k.id",
            (hashed,),
        )
        return cursor.fetchone()


def insert(
    connection: Connection,
    key_id: str,
    project_id: str,
    *,
    hashed: bytes,
    hint: str,
    rights: Iterable[str],
    name: str | None = None,
    also: Iterable[str] = (),
) -> None:
    """Insert a key.

    Args:
        hashed: SHA-256 hash of the key.
        hint: the last characters of the key, for lists.
        also: IDs of further projects to which the key has access.
    """
    connection.execute(
        "insert into api_keys (id, project_id, hash, hint, rights, name) values (%s, %s, %s, %s, %s, %s)",
        (key_id, project_id, hashed, hint, sorted(rights), name),
    )
    for other in also:
        allow(connection, key_id, other)


def allow(connection: Connection, key_id: str, project_id: str) -> None:
    """Grant a key access to a further project."""
    connection.execute(
        "insert into api_key_projects (key_id, project_id) values (%s, %s) on conflict do nothing",
        (key_id, project_id),
    )


@dataclass(frozen=True)
class Listed:
    """A key as shown to operators and admins, without the secret, which is not stored."""

    id: str
    project_id: str
    project: str
    name: str | None
    hint: str
    rights: list[str]
    also: list[str]  # names of further projects to which the key has access
    also_ids: list[str]
    created_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None


_LISTED: LiteralString = """
select k.id, k.project_id, p.name as project, k.name, k.hint, k.rights, k.created_at, k.rotated_at, k.revoked_at,
    array(select o.name from api_key_projects a join projects o on o.id = a.project_id where a.key_id = k.id
          order by o.id) as also,
    array(select a.project_id from api_key_projects a where a.key_id = k.id order by a.project_id) as also_ids
from api_keys k join projects p on p.id = k.project_id
"""


def listed(connection: Connection, project_id: str | None = None) -> list[Listed]:
    """Return all keys, or those whose own project has this ID, oldest first."""
    with connection.cursor(row_factory=class_row(Listed)) as cursor:
        cursor.execute(
            _LISTED + "where %(id)s::text is null or k.project_id = %(id)s order by k.created_at, k.id",
            {"id": project_id},
        )
        return cursor.fetchall()


def find(connection: Connection, key_id: str) -> Listed | None:
    """Return the key with this ID, revoked or not; None if there is none."""
    with connection.cursor(row_factory=class_row(Listed)) as cursor:
        return cursor.execute(_LISTED + "where k.id = %s", (key_id,)).fetchone()


def find_by_hash(connection: Connection, hashed: bytes) -> Listed | None:
    """Return the key with this hash, revoked or not; None if there is none."""
    with connection.cursor(row_factory=class_row(Listed)) as cursor:
        return cursor.execute(_LISTED + "where k.hash = %s", (hashed,)).fetchone()


def lock(connection: Connection, key_id: str) -> None:
    """Lock a key against changes until the end of the transaction."""
    connection.execute("select 1 from api_keys where id = %s for no key update", (key_id,))


def set_rights(connection: Connection, key_id: str, rights: Iterable[str]) -> None:
    connection.execute("update api_keys set rights = %s where id = %s", (sorted(rights), key_id))


def rotate(connection: Connection, key_id: str, *, hashed: bytes, hint: str) -> bytes:
    """Replace the hash of a key and return the old hash."""
    row = connection.execute("select hash from api_keys where id = %s", (key_id,)).fetchone()
    assert row is not None
    connection.execute(
        "update api_keys set hash = %s, hint = %s, rotated_at = now() where id = %s", (hashed, hint, key_id)
    )
    return bytes(row[0])


def revoke(connection: Connection, key_id: str) -> None:
    """Revoke a key permanently."""
    connection.execute("update api_keys set revoked_at = now() where id = %s", (key_id,))

"""Rows of projects and their API keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from core.db import Connection


@dataclass(frozen=True)
class Caller:
    """Who a key speaks for, and what it may do."""

    key_id: str
    project_id: str
    project: str  # its name
    rights: list[str]


def find_caller(connection: Connection, hashed: bytes) -> Caller | None:
    """The caller a key's hash stands for; None if it is unknown or revoked."""
    with connection.cursor(row_factory=class_row(Caller)) as cursor:
        cursor.execute(
            "select k.id as key_id, k.project_id, p.name as project, k.rights"
            " from api_keys k join projects p on p.id = k.project_id where k.hash = %s and k.revoked_at is null",
            (hashed,),
        )
        return cursor.fetchone()


def ensure_project(connection: Connection, project_id: str, name: str) -> str:
    """The ID of the project called `name`, which is created under `project_id` if there is none."""
    connection.execute(
        "insert into projects (id, name) values (%s, %s) on conflict (name) do nothing", (project_id, name)
    )
    row = connection.execute("select id from projects where name = %s", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def find_project(connection: Connection, name: str) -> str | None:
    """The ID of the project called `name`, or None."""
    row = connection.execute("select id from projects where name = %s", (name,)).fetchone()
    return None if row is None else str(row[0])


def upsert(
    connection: Connection, key_id: str, project_id: str, *, hashed: bytes, hint: str, rights: Iterable[str]
) -> None:
    """Write a key, or the rights of one that is there, unless it was revoked."""
    connection.execute(
        "insert into api_keys (id, project_id, hash, hint, rights) values (%s, %s, %s, %s, %s)"
        " on conflict (hash) do update set rights = excluded.rights",
        (key_id, project_id, hashed, hint, sorted(rights)),
    )


@dataclass(frozen=True)
class Listed:
    """A key as operators see it; the key itself is known only to its holder."""

    id: str
    project: str
    hint: str
    rights: list[str]
    created_at: datetime
    revoked_at: datetime | None


def listed(connection: Connection) -> list[Listed]:
    """All keys, oldest first."""
    with connection.cursor(row_factory=class_row(Listed)) as cursor:
        cursor.execute(
            "select k.id, p.name as project, k.hint, k.rights, k.created_at, k.revoked_at"
            " from api_keys k join projects p on p.id = k.project_id order by k.created_at, k.id"
        )
        return cursor.fetchall()


def revoke(connection: Connection, key_id: str) -> bool:
    """Revoke a key; False if there is none of that ID. Revoking twice changes nothing."""
    return (
        connection.execute(
            "update api_keys set revoked_at = coalesce(revoked_at, now()) where id = %s", (key_id,)
        ).rowcount
        == 1
    )

"""SQL of projects."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Project:
    """A project as stored."""

    id: str
    name: str
    created_at: datetime


_FOUND: LiteralString = "select id, name, created_at from projects "


def insert(connection: Connection, project_id: str, name: str) -> bool:
    """Insert a project; return False, without writing, if another project has this name."""
    query = "insert into projects (id, name) values (%s, %s) on conflict (name) do nothing"
    return connection.execute(query, (project_id, name)).rowcount == 1


def find(connection: Connection, project_id: str) -> Project | None:
    """Return the project with this ID; None if there is none."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(_FOUND + "where id = %s", (project_id,)).fetchone()


def find_by_name(connection: Connection, name: str) -> Project | None:
    """Return the project called `name`; None if there is none."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(_FOUND + "where name = %s", (name,)).fetchone()


def listed(connection: Connection, ids: list[str] | None = None) -> list[Project]:
    """Return all projects, or those with these IDs, oldest first."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        cursor.execute(
            _FOUND + "where %(ids)s::text[] is null or id = any (%(ids)s) order by created_at, id", {"ids": ids}
        )
        return cursor.fetchall()

"""SQL for stored prompts and their versions."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Found:
    """A prompt with the numbers of its versions, oldest first."""

    id: str
    name: str
    description: str | None
    default_version: int
    created_at: datetime
    versions: list[int]


@dataclass(frozen=True)
class FoundVersion:
    """A version of a prompt; `template` is JSON text."""

    version: int
    template: str
    created_at: datetime


_FOUND = sql.SQL(
    "select p.id, p.name, p.description, p.default_version, p.created_at,"
    " array(select v.version from prompt_versions v where v.prompt_id = p.id order by v.version) as versions"
    " from prompts p where p.project_id = %(project_id)s and {} {}"
)


def insert(connection: Connection, project_id: str, prompt_id: str, *, name: str, description: str | None) -> None:
    """Insert a prompt. The caller must add its version 1 in the same transaction.

    Raises:
        psycopg.errors.UniqueViolation: the ID exists, or the project has a prompt with this name.
    """
    connection.execute(
        "insert into prompts (id, project_id, name, description, default_version) values (%s, %s, %s, %s, 1)",
        (prompt_id, project_id, name, description),
    )


def lock(connection: Connection, project_id: str, prompt_id: str) -> bool:
    """Lock a prompt against concurrent changes and new versions; return False if the project has no such prompt."""
    query = "select from prompts where id = %s and project_id = %s for no key update"
    return connection.execute(query, (prompt_id, project_id)).rowcount == 1


def add_version(connection: Connection, prompt_id: str, template: str) -> int:
    """Insert the next version of a prompt that this transaction has locked or inserted; return its number."""
    row = connection.execute(
        "insert into prompt_versions (prompt_id, version, template)"
        " select %(id)s, coalesce(max(version), 0) + 1, %(template)s from prompt_versions where prompt_id = %(id)s"
        " returning version",
        {"id": prompt_id, "template": template},
    ).fetchone()
    assert row is not None
    return int(row[0])


def update(
    connection: Connection, prompt_id: str, *, name: str | None, description: str | None, default_version: int | None
) -> None:
    """Update the columns whose value is not None.

    Raises:
        psycopg.errors.UniqueViolation: the project has another prompt with this name.
    """
    connection.execute(
        "update prompts set name = coalesce(%s, name), description = coalesce(%s, description),"
        " default_version = coalesce(%s, default_version) where id = %s",
        (name, description, default_version, prompt_id),
    )


def find(connection: Connection, project_id: str, prompt_id: str) -> Found | None:
    """A prompt of the project, or None."""
    query = _FOUND.format(sql.SQL("p.id = %(id)s"), sql.SQL(""))
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        cursor.execute(query, {"project_id": project_id, "id": prompt_id})
        return cursor.fetchone()


def page(connection: Connection, project_id: str, *, limit: int, descending: bool, after: str | None) -> list[Found]:
    """Up to `limit` of a project's prompts in the order of their creation, starting after the prompt `after`."""
    behind: sql.Composable = sql.SQL("true")
    if after is not None:
        behind = sql.SQL("(p.created_at, p.id) {} (select created_at, id from prompts where id = %(after)s)").format(
            sql.SQL("<" if descending else ">")
        )
    order = sql.SQL("desc" if descending else "asc")
    ordered = sql.SQL("order by p.created_at {order}, p.id {order} limit %(limit)s").format(order=order)
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        cursor.execute(_FOUND.format(behind, ordered), {"project_id": project_id, "after": after, "limit": limit})
        return cursor.fetchall()


def find_version(connection: Connection, project_id: str, prompt_id: str, version: int | None) -> FoundVersion | None:
    """A version of a prompt, or its default version if `version` is None; None if there is no such version."""
    with connection.cursor(row_factory=class_row(FoundVersion)) as cursor:
        cursor.execute(
            "select v.version, v.template, v.created_at from prompts p join prompt_versions v on v.prompt_id = p.id"
            " where p.id = %s and p.project_id = %s and v.version = coalesce(%s, p.default_version)",
            (prompt_id, project_id, version),
        )
        return cursor.fetchone()


def delete(connection: Connection, project_id: str, prompt_id: str) -> bool:
    """Delete a prompt with its versions; return False if the project has no such prompt."""
    query = "delete from prompts where id = %s and project_id = %s"
    return connection.execute(query, (prompt_id, project_id)).rowcount == 1

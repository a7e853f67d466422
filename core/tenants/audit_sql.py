"""SQL of the audit log."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from core import jsonio
from core.database import Connection


@dataclass(frozen=True)
class Actor:
    """The author of an action: an API key in a request, or an operator on a machine.

    Args:
        name: the ID of the key, or `operator`.
        os_user: the OS user of the operator; None for a key.
        request_id: the ID of the request in which the key was used; None for an operator.
    """

    name: str
    os_user: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Act:
    """An action to record. It must contain neither secrets nor contents of requests or responses.

    Args:
        by: the author of the action.
        action: the name of the action, such as `key.revoked`.
        object_id: the ID of the object that the action changed.
        details: further facts, stored as JSON.
    """

    by: Actor
    action: str
    object_id: str
    details: dict[str, Any] = field(default_factory=dict)


def insert(connection: Connection, act: Act, project_id: str | None) -> None:
    """Record an action, in the same transaction as the action itself."""
    connection.execute(
        "insert into audit_log (actor, os_user, action, object_id, project_id, request_id, details)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        (
            act.by.name,
            act.by.os_user,
            act.action,
            act.object_id,
            project_id,
            act.by.request_id,
            jsonio.dumps(act.details),
        ),
    )


@dataclass(frozen=True)
class Entry:
    """An entry of the audit log."""

    id: int
    at: datetime
    actor: str
    os_user: str | None
    action: str
    object_id: str
    project: str | None
    request_id: str | None
    details: dict[str, Any]


def listed(connection: Connection, *, project: str | None, since_s: float | None, limit: int) -> list[Entry]:
    """Return the `limit` newest entries that match, oldest first."""
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        cursor.execute(
            "select a.id, a.at, a.actor, a.os_user, a.action, a.object_id, p.name as project, a.request_id, a.details"
            " from audit_log a left join projects p on p.id = a.project_id"
            " where (%(project)s::text is null or p.name = %(project)s)"
            " and (%(since_s)s::float8 is null or a.at >= now() - %(since_s)s * interval '1 s')"
            " order by a.at desc, a.id desc limit %(limit)s",
            {"project": project, "since_s": since_s, "limit": limit},
        )
        return cursor.fetchall()[::-1]

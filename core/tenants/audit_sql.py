"""SQL of the audit log."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import sqlalchemy as sa

from core import jsonio
from core.database import Connection
from core.jsonio import JsonObject
from core.tables.projects import audit_log, projects
from core.tables.statement import Statement


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
        actor: the author of the action.
        action: the name of the action, such as `key.revoked`.
        object_id: the ID of the object that the action changed.
        details: further information, stored as JSON.
    """

    actor: Actor
    action: str
    object_id: str
    details: JsonObject = field(default_factory=dict)


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
    details: JsonObject


_INSERT = Statement(
    sa.insert(audit_log).inline(), "actor", "os_user", "action", "object_id", "project_id", "request_id", "details"
)


def insert(connection: Connection, act: Act, project_id: str | None) -> None:
    """Record an action, in the same transaction as the action itself."""
    _INSERT.execute(
        connection,
        actor=act.actor.name,
        os_user=act.actor.os_user,
        action=act.action,
        object_id=act.object_id,
        project_id=project_id,
        request_id=act.actor.request_id,
        details=jsonio.dumps(act.details),
    )


@cache
def _list_statement(*, has_project: bool, has_max_age: bool) -> Statement:
    """Return the statement that lists the newest entries, optionally of one project or up to a maximum age."""
    entries = (
        sa.select(
            audit_log.c.id,
            audit_log.c.at,
            audit_log.c.actor,
            audit_log.c.os_user,
            audit_log.c.action,
            audit_log.c.object_id,
            projects.c.name.label("project"),
            audit_log.c.request_id,
            audit_log.c.details,
        )
        .join_from(audit_log, projects, projects.c.id == audit_log.c.project_id, isouter=True)
        .order_by(audit_log.c.at.desc(), audit_log.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.BigInteger))
    )
    if has_project:
        entries = entries.where(projects.c.name == sa.bindparam("project"))
    if has_max_age:
        age = sa.bindparam("since_s", type_=sa.Double) * sa.literal_column("interval '1 s'")
        entries = entries.where(audit_log.c.at >= sa.func.now() - age)
    return Statement(entries)


def select_entries(connection: Connection, *, project: str | None, since_s: float | None, limit: int) -> list[Entry]:
    """Return the `limit` newest entries that match, oldest first."""
    statement = _list_statement(has_project=project is not None, has_max_age=since_s is not None)
    return statement.fetch_all(connection, Entry, project=project, since_s=since_s, limit=limit)[::-1]

"""The audit log, which records the actor and the time of each change to a project, key, prompt or response."""

import os
import pwd

from core.database import Database
from core.tenants import audit_sql
from core.tenants.audit_sql import Act, Actor, Entry

__all__ = ["Act", "Actor", "Audit", "Entry", "key", "operator"]


def operator() -> Actor:
    """Return the actor for the operator who runs this process, with the name of the OS user."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the UID has no passwd entry, as in some containers
        user = str(os.getuid())
    return Actor("operator", os_user=user)


def key(key_id: str, request_id: str | None) -> Actor:
    """Return the actor for an API key, with the ID of the request in which it is used."""
    return Actor(key_id, request_id=request_id)


class Audit:
    """Reads the audit log. Each action writes its own entry, in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_newest(self, *, project: str | None = None, since_s: float | None = None, limit: int) -> list[Entry]:
        """Return the newest entries, oldest first.

        Args:
            project: only entries of the project with this name.
            since_s: maximum age of the entries in seconds.
            limit: maximum number of entries.
        """
        with self._database.connection() as connection:
            return audit_sql.select_entries(connection, project=project, since_s=since_s, limit=limit)

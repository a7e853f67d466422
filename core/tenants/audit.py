"""The audit log: who did what to which project, key, prompt or response, and when."""

import os
import pwd

from core.database import Database
from core.tenants import audit_sql
from core.tenants.audit_sql import Act, Actor, Entry

__all__ = ["Act", "Actor", "Audit", "Entry", "key", "operator"]


def operator() -> Actor:
    """Whoever runs this process, by the name the machine knows."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container that runs with a number
        user = str(os.getuid())
    return Actor("operator", os_user=user)


def key(key_id: str, request_id: str | None) -> Actor:
    """A key, in a request."""
    return Actor(key_id, request_id=request_id)


class Audit:
    """Reads the log; whoever acts writes it, in the transaction of the act."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, *, project: str | None = None, since_s: float | None = None, limit: int) -> list[Entry]:
        """The newest entries, in the order of their time.

        Args:
            project: of the project with this name only.
            since_s: not older than so many seconds.
        """
        with self._database.connection() as connection:
            return audit_sql.listed(connection, project=project, since_s=since_s, limit=limit)

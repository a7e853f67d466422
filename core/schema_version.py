"""Whether the database's schema is the one this program was written for."""

import psycopg

from core import errors
from core.database import Connection, Database

# Every revision this program knows, oldest first; the last is the one it needs.
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006")
HEAD = KNOWN[-1]


def find(connection: Connection) -> str | None:
    """The schema's revision; None where nothing was ever migrated."""
    try:
        row = connection.execute("select version_num from alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return str(row[0]) if row else None


def check(database: Database) -> None:
    """Return if the schema is this program's.

    Raises:
        errors.SchemaMismatch: it is older or newer; the text says which and what to do.
        errors.StoreUnavailable: Postgres could not be asked.
    """
    with database.connection() as connection:
        revision = find(connection)
    if revision == HEAD:
        return
    if revision is None or revision in KNOWN:
        found = revision or "empty"
        raise errors.SchemaMismatch(
            f"The database's schema is older ({found}) than this program needs ({HEAD}): run `backburner migrate`."
        )
    raise errors.SchemaMismatch(
        f"The database's schema is newer ({revision}) than this program knows ({HEAD}): "
        "run a newer version of Backburner."
    )

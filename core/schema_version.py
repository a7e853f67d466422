"""Checks that the database schema has the revision that this program requires."""

from core import errors
from core.database import Connection, Database, UndefinedTable

# All revisions up to the one that this program requires, oldest first.
REVISIONS = ("0001",)
HEAD = REVISIONS[-1]


def find_revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none, because no migration has been applied."""
    try:
        row = connection.execute("select version_num from alembic_version").fetchone()
    except UndefinedTable:
        return None
    return str(row[0]) if row else None


def check(database: Database) -> None:
    """Check that the schema is at revision `HEAD`.

    Raises:
        errors.SchemaMismatch: the schema is missing, older or newer; the message says which it is and what to do.
        errors.StoreUnavailable: Postgres is unavailable.
    """
    with database.connection() as connection:
        revision = find_revision(connection)
    if revision == HEAD:
        return
    if revision is None:
        raise errors.SchemaMismatch(
            f"The database has no schema, but this program requires {HEAD}: run `backburner migrate`."
        )
    if revision in REVISIONS:
        raise errors.SchemaMismatch(
            f"The database schema ({revision}) is older than this program requires ({HEAD}): run `backburner migrate`."
        )
    raise errors.SchemaMismatch(
        f"The database schema ({revision}) is newer than this program supports ({HEAD}): "
        "run a newer version of Backburner."
    )

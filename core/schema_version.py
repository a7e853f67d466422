"""Checks that the program can run on the schema of the database.

The revision of a program is the one that it requires (`HEAD`). The table `schema_range`, which exists since revision
0002, contains the oldest revision whose programs still run on the schema; a migration that excludes older programs
raises it. The schema can therefore be migrated while programs of an earlier revision run.
"""

from dataclasses import dataclass

from core import errors
from core.database import Connection, Database, UndefinedTable

# All revisions up to the one that this program requires, oldest first. Later revisions have greater IDs.
REVISIONS = ("0001", "0002", "0003", "0004")
HEAD = REVISIONS[-1]


@dataclass(frozen=True)
class SchemaVersion:
    """The revision of a schema, and the oldest revision whose programs run on it."""

    revision: str
    oldest_program: str

    @property
    def admits_program(self) -> bool:
        """Whether this program can run on the schema."""
        return self.revision >= HEAD >= self.oldest_program


def find_version(connection: Connection) -> SchemaVersion | None:
    """Return the version of the schema; None if there is no schema, because no migration has been applied."""
    try:
        row = connection.execute("select version_num from alembic_version").fetchone()
    except UndefinedTable:
        return None
    if row is None:
        return None
    revision = str(row[0])
    try:
        row = connection.execute("select oldest_program from schema_range").fetchone()
    except UndefinedTable:  # a revision before 0002, which only its own programs support
        row = None
    return SchemaVersion(revision, str(row[0]) if row else revision)


def check(database: Database) -> str:
    """Check that this program can run on the schema: it has revision `HEAD`, or a later one that admits `HEAD`.

    Returns:
        The revision of the schema.

    Raises:
        errors.SchemaMismatch: the schema is missing, too old or too new; the message describes the remedy.
        errors.StoreUnavailable: Postgres is unavailable.
    """
    with database.connection() as connection:
        version = find_version(connection)
    if version is None:
        raise errors.SchemaMismatch(
            f"The database has no schema, but this program requires {HEAD}: run `backburner migrate`."
        )
    if version.admits_program:
        return version.revision
    if version.revision < HEAD:
        raise errors.SchemaMismatch(
            f"The database schema ({version.revision}) is older than this program requires ({HEAD}): "
            "run `backburner migrate`."
        )
    raise errors.SchemaMismatch(
        f"The database schema ({version.revision}) is newer than this program supports ({HEAD}): "
        "run a newer version of Backburner."
    )

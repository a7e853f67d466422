"""Chore: delete large contents of requests to which no response refers any more."""

from core.context import contents_sql
from core.database import Database, ForeignKeyViolation

# Maximum released contents per round that are checked for remaining references.
CONTENTS = 200


class DeleteBlobs:
    """Deletes released contents."""

    name = "delete contents"

    def __init__(self, database: Database) -> None:
        self._database = database

    def perform(self) -> None:
        """Delete a batch of them."""
        try:
            with self._database.transaction() as connection:
                contents_sql.delete_released(connection, CONTENTS)
        except ForeignKeyViolation:
            return  # one of the contents was referenced concurrently; the next round checks again

"""Chore: delete contents to which no response refers any more."""

from core.context import contents_sql
from core.database import Database, ForeignKeyViolation
from core.maintenance.batch_size import BatchSize

# Maximum number of released contents per round.
MAX_CONTENTS = 200


class DeleteContents:
    """Deletes contents that have lost a reference, unless another response still refers to them."""

    name = "delete contents"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch_size = BatchSize(MAX_CONTENTS)

    def perform(self) -> None:
        """Delete at most `MAX_CONTENTS` contents."""
        try:
            with self._batch_size.try_size() as max_contents, self._database.transaction() as connection:
                contents_sql.delete_released(connection, max_contents)
        except ForeignKeyViolation:
            return  # one of the contents was referenced concurrently; the next round checks again

"""Chore: cancel foreground responses for which no client waits."""

from core.database import Database
from core.maintenance.chore import BATCH, recovered
from core.runs.ends import Endings, Locked, cancelled
from core.streams import followers_sql


class CancelOrphans:
    """Cancels foreground responses whose client, or the API process that waited for it, is gone."""

    name = "cancel orphans"

    def __init__(self, database: Database, endings: Endings) -> None:
        self._database = database
        self._endings = endings

    def perform(self) -> None:
        """Cancel a batch of them."""
        with self._database.connection() as connection:
            left = followers_sql.left(connection, BATCH)
        for response_id in left:
            self._cancel(response_id)

    def _cancel(self, response_id: str) -> None:
        outcome = cancelled("no client waits for it any more")
        recovered(response_id, lambda: self._endings.end(response_id, outcome, _is_left))


def _is_left(row: Locked) -> bool:
    return row.left

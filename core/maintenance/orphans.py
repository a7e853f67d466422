"""Chore: cancel foreground responses for which no client waits."""

from functools import partial

from core.database import Database
from core.maintenance.chore import BATCH_SIZE
from core.maintenance.recovery import Recovery
from core.runs.ends import Endings, LockedResponse, cancelled_outcome
from core.streams import followers_sql


class CancelOrphans:
    """Cancels foreground responses whose client has disconnected, or whose API process has died."""

    name = "cancel orphans"

    def __init__(self, database: Database, endings: Endings) -> None:
        self._database = database
        self._recovery = Recovery(database)
        self._endings = endings

    def perform(self) -> None:
        """Cancel at most `BATCH_SIZE` orphans."""
        with self._database.connection() as connection:
            orphan_ids = followers_sql.select_orphans(
                connection, BATCH_SIZE, excluded_ids=self._recovery.postponed_ids()
            )
        for response_id in orphan_ids:
            self._recovery.try_to_recover(response_id, partial(self._cancel, response_id))

    def _cancel(self, response_id: str) -> object:
        outcome = cancelled_outcome("no client waits for it any more")
        return self._endings.end(response_id, outcome, _is_orphan)


def _is_orphan(row: LockedResponse) -> bool:
    return row.is_orphan

"""Chore: delete old event logs."""

from core.database import Database
from core.maintenance.batch_size import BatchSize
from core.runs import events_sql
from core.settings import Settings

# Maximum number of event logs per round; lower than the maximum in `Prune`, because a log may have thousands of rows.
MAX_LOGS = 100


class PruneEvents:
    """Deletes old event logs. A separate chore, so that a locked row that delays `Prune` does not delay it as well."""

    name = "prune events"

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._batch_size = BatchSize(MAX_LOGS)

    def perform(self) -> None:
        """Delete at most `MAX_LOGS` event logs."""
        with self._batch_size.try_size() as max_logs, self._database.connection() as connection:
            events_sql.delete_logs(connection, self._settings.events_kept_s, max_logs)

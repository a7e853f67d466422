"""Chores: delete rows that are no longer needed, and old event logs."""

from core.circuits import circuits_sql
from core.database import Database
from core.dispatch import lanes_sql
from core.responses import idempotency_sql, responses_sql
from core.runs import events_sql, workers_sql
from core.settings import Settings

# Maximum rows per round and table, to keep each statement far below its timeout.
CLEANED = 500
# Maximum event logs per round: each may have thousands of rows.
PRUNED = 100
# An unstored response is deleted on delivery; one that was never delivered is deleted this long after its end.
UNSTORED_S = 60
# Rows of workers are kept this long after they were last seen, for diagnosis.
WORKERS_S = 600
# A circuit that no probe has tried to close for this long is deleted.
CIRCUITS_S = 600
# Records of who was served that are older than this do not affect fair share any more.
FAIR_SHARE_S = 600


class Prune:
    """Deletes old rows."""

    name = "prune"

    def __init__(self, database: Database) -> None:
        self._database = database

    def perform(self) -> None:
        """Delete as much as a round may delete."""
        with self._database.connection() as connection:
            workers_sql.delete_unseen(connection, WORKERS_S)
            circuits_sql.delete_old(connection, CIRCUITS_S)
            lanes_sql.delete_old_shares(connection, FAIR_SHARE_S)
            responses_sql.delete_unstored(connection, UNSTORED_S, CLEANED)
            idempotency_sql.delete_old(connection, CLEANED)


class PruneEvents:
    """Deletes old event logs; a chore of its own, so that a busy table of rows does not postpone it."""

    name = "prune events"

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def perform(self) -> None:
        """Delete as many logs as a round may delete."""
        with self._database.connection() as connection:
            events_sql.prune(connection, self._settings.events_kept_s, PRUNED)

"""Chore: delete rows that are no longer needed."""

from core.circuits import circuits_sql
from core.database import Database
from core.dispatch import lanes_sql
from core.maintenance.batch_size import BatchSize
from core.responses import idempotency_sql, responses_sql
from core.runs import workers_sql

# Maximum number of rows per round and table, so that each statement takes much less time than its timeout.
MAX_ROWS = 500
# Retention of unstored responses after their end. Most are deleted earlier, when they have been delivered.
UNSTORED_RETENTION_S = 60
# Retention of workers after they were last seen, for diagnosis.
WORKER_RETENTION_S = 600
# Retention of circuits without a probe after their `open_until`.
CIRCUIT_RETENTION_S = 600
# Retention of service records; older ones do not affect fair share.
FAIR_SHARE_RETENTION_S = 600


class Prune:
    """Deletes old rows: registrations of workers, circuits, service records, unstored responses, idempotency keys."""

    name = "prune"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch_size = BatchSize(MAX_ROWS)

    def perform(self) -> None:
        """Delete at most `MAX_ROWS` rows of each large table."""
        with self._batch_size.try_size() as max_rows, self._database.connection() as connection:
            workers_sql.delete_unseen(connection, WORKER_RETENTION_S)
            circuits_sql.delete_old(connection, CIRCUIT_RETENTION_S)
            lanes_sql.delete_old_shares(connection, FAIR_SHARE_RETENTION_S)
            responses_sql.delete_unstored(connection, UNSTORED_RETENTION_S, max_rows)
            idempotency_sql.delete_old(connection, max_rows)

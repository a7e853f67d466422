"""Commits and enqueues new responses; concurrent create requests share transactions and round trips to Redis."""

from collections.abc import Sequence

from core import errors
from core.batcher import Batcher
from core.context import contents_sql
from core.database import Connection, Database, ForeignKeyViolation, PostgresError, UniqueViolation
from core.dispatch.dispatcher import Dispatch
from core.dispatch.situation import Rules
from core.responses import responses_sql
from core.responses.draft import Draft

# Maximum number of rows per transaction.
_MAX_ROWS = 64
# A row with a longer request gets its own transaction, so that it does not delay other rows.
_MAX_BATCHED_CHARACTERS = 64 * 1024


class ResponseAcceptor:
    """Inserts rows of new responses, and enqueues those that may run now.

    A row is committed before it is enqueued, so a worker always finds it. The sweeper recalls a response whose Celery
    message was lost, and it is dispatched again.
    """

    def __init__(self, database: Database, dispatch: Dispatch) -> None:
        self._database = database
        self._dispatch = dispatch
        self._batcher: Batcher[Draft, bool | None] = Batcher(
            self._write_all, max_items=_MAX_ROWS, on_batch_end=self._enqueue_all
        )

    def accept(self, row: Draft) -> bool:
        """Commit a row to which no limit on running responses applies, and enqueue it if it may run now.

        Returns:
            False if an earlier attempt had already committed the row.

        Raises:
            errors.StoreUnavailable: whether the row was written is unknown.
            PostgresError: Postgres rejects the row. Nothing was written.
        """
        if len(row.request) <= _MAX_BATCHED_CHARACTERS and not row.content_ids:
            return self._batcher.process(row) is not None
        outcomes = self._write_all([row])
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        self._enqueue_all([row], outcomes)
        return outcome is not None

    def write(self, connection: Connection, rows: Sequence[Draft], rules: Rules) -> set[str]:
        """Insert rows in the caller's transaction; return the IDs that the caller must `enqueue` after the commit.

        The caller has inserted the contents of the rows, before it took locks for which other transactions wait.

        Raises:
            errors.StoreUnavailable: a content has just been deleted; the caller must repeat the transaction.
        """
        dispatched_ids = responses_sql.insert(
            connection, rows, {"dispatchable": self._dispatch.can_enqueue, **rules.parameters}
        )
        try:
            for row in rows:
                if row.content_ids:
                    contents_sql.insert_references(connection, row.project_id, row.id, row.content_ids)
        except ForeignKeyViolation as error:
            raise errors.StoreUnavailable("Content that this request refers to was just deleted.") from error
        return dispatched_ids

    def enqueue(self, response_ids: Sequence[str], lane: str) -> None:
        """Enqueue committed responses. Never raises `StoreUnavailable`: the sweeper recalls unclaimed responses."""
        try:
            self._dispatch.enqueue(list(response_ids), lane)
        except errors.StoreUnavailable:
            return  # the responses are accepted, and the sweeper recalls them

    def _write_all(self, rows: Sequence[Draft]) -> Sequence[bool | Exception | None]:
        """Insert rows; return for each row whether to enqueue it, None if it already existed, or the error."""

        def write() -> set[str]:
            if any(row.content_ids for row in rows):
                with self._database.transaction() as connection:
                    for row in rows:
                        contents_sql.insert(connection, row.project_id, row.contents)
                    return self.write(connection, rows, self._dispatch.rules)
            with self._database.connection() as connection:  # a single statement is its own transaction
                return self.write(connection, rows, self._dispatch.rules)

        try:
            dispatched_ids = self._database.run_with_retry(write)
        except errors.StoreUnavailable as error:
            return [error] * len(rows)
        except PostgresError as error:
            if len(rows) > 1:  # one row is invalid or already committed: insert each row separately
                return [outcome for row in rows for outcome in self._write_all([row])]
            # Only this process generates these IDs: a duplicate means that the first attempt was committed.
            return [None if isinstance(error, UniqueViolation) else error]
        return [row.id in dispatched_ids for row in rows]

    def _enqueue_all(self, rows: Sequence[Draft], outcomes: Sequence[bool | Exception | None]) -> None:
        dispatched_rows = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is True]
        for lane in sorted({row.lane for row in dispatched_rows}):
            self.enqueue([row.id for row in dispatched_rows if row.lane == lane], lane)

"""Committing new responses and ringing for them: those that come at the same time share a transaction and a ring."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from core import errors
from core.batcher import Batcher
from core.database import Connection, Database
from core.dispatch.dispatcher import Dispatch
from core.dispatch.doorbell import Doorbell
from core.responses import responses_sql as store

# Rows of one transaction; what is larger than so many characters gets one of its own, to hold up nobody else.
_MOST = 64
_LARGE = 64 * 1024

Row = Mapping[str, Any]


class Accepting:
    """Writes rows of new responses, and rings for those that may run now.

    A row is committed before its ring, so a worker never misses it; a ring that is lost is repeated.
    """

    def __init__(self, database: Database, doorbell: Doorbell, dispatch: Dispatch) -> None:
        self._database = database
        self._doorbell = doorbell
        self._dispatch = dispatch
        self._batcher: Batcher[Row, bool | None] = Batcher(self._write_all, most=_MOST, after=self._enqueue_all)

    def accept(self, row: Row) -> bool:
        """Commit a row whose place depends on no limit, and ring for it; False if an earlier try had committed it.

        Raises:
            errors.StoreUnavailable: it is not known to be written.
            psycopg.Error: Postgres does not take it. Nothing is written.
        """
        if len(row["request"]) <= _LARGE:
            return self._batcher.do(row) is not None
        (outcome,) = outcomes = self._write_all([row])
        if isinstance(outcome, Exception):
            raise outcome
        self._enqueue_all([row], outcomes)
        return outcome is not None

    def write(self, connection: Connection, rows: Sequence[Row]) -> set[str]:
        """Write rows in the caller's transaction; the IDs to `ring` for when that is committed."""
        return store.insert(
            connection, rows, {"dispatchable": self._doorbell.can_enqueue, **self._dispatch.rules.parameters}
        )

    def enqueue(self, response_ids: Sequence[str], lane: str) -> None:
        """Ring for responses that are committed. Nothing is raised: the sweeper takes back rings without an answer."""
        try:
            self._dispatch.enqueue(list(response_ids), lane)
        except errors.StoreUnavailable:
            return  # they are accepted, and wait

    def _write_all(self, rows: Sequence[Row]) -> Sequence[bool | Exception | None]:
        """For each whether it is to be rung for; None where an earlier try had committed it."""

        def write() -> set[str]:
            with self._database.connection() as connection:  # one statement is a transaction
                return self.write(connection, rows)

        try:
            dispatched = self._database.again(write)
        except errors.StoreUnavailable as error:
            return [error] * len(rows)
        except psycopg.Error as error:
            if len(rows) > 1:  # one of them is bad, or was written before: each by itself
                return [outcome for row in rows for outcome in self._write_all([row])]
            # Nobody else makes this ID: the first try was committed, and its answer was lost.
            return [None if isinstance(error, psycopg.errors.UniqueViolation) else error]
        return [row["id"] in dispatched for row in rows]

    def _enqueue_all(self, rows: Sequence[Row], outcomes: Sequence[bool | Exception | None]) -> None:
        dispatched = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is True]
        for lane in sorted({row["lane"] for row in dispatched}):
            self.enqueue([row["id"] for row in dispatched if row["lane"] == lane], lane)

"""The sweeper: dispatch, recover, expire and clean up responses. Any number of sweepers may run concurrently."""

import logging
import random
from collections.abc import Callable

import psycopg

from core import errors
from core.circuits import circuits_sql
from core.codes import Code
from core.context import contents_sql
from core.database import Database
from core.dispatch import lanes_sql
from core.dispatch.dispatcher import Dispatch
from core.quota.ledger import BATCH as LEDGER_BATCH
from core.quota.ledger import Ledger
from core.responses import idempotency_sql, responses_sql
from core.runs import events_sql, runs_sql, workers_sql
from core.runs.ends import Endings, Fence, Locked, Outcome, cancelled, failed
from core.runs.runs_sql import Expired
from core.settings import Settings
from core.streams import followers_sql
from core.wire.status import Status

log = logging.getLogger(__name__)

BATCH = 50
# Maximum dispatches per round. Responses that expire meanwhile wait for the next round.
DISPATCHES = 5
# Maximum batches of ended responses per round whose credits are corrected.
SETTLEMENTS = 10
# Maximum released contents per round that are checked for remaining references.
CONTENTS = 200
# Maximum rows per round and table that are deleted, to keep each statement far below its timeout.
CLEANED = 500
# Maximum event logs per round that are deleted: each may have thousands of rows.
PRUNED = 100
# An unstored response is deleted on delivery; one that was never delivered is deleted this long after its end.
KEEP_UNSTORED_S = 60
# Rows of workers are kept this long after they were last seen, for diagnosis.
FORGET_WORKERS_S = 600
# A circuit that no probe has tried to close for this long is deleted.
FORGET_CIRCUITS_S = 600
# Turns older than this do not affect fair share any more.
TURNS_RETENTION_S = 600


class Sweep:
    """One round of all recovery and cleanup tasks."""

    def __init__(
        self, database: Database, dispatch: Dispatch, endings: Endings, ledger: Ledger, settings: Settings
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._endings = endings
        self._ledger = ledger
        self._settings = settings
        self._unserved: frozenset[str] = frozenset()

    def run(self) -> None:
        """End overdue responses, recover lost runs, recall, dispatch, settle credits, delete old rows and logs.

        Steps that clients wait for come first. A step that finds Postgres busy is postponed to the next round; the
        other steps still run.

        Raises:
            errors.StoreUnavailable: the round stopped; the next one does the rest.
        """
        for step in (
            self._expire,
            self._recall,
            self._cancel_left,
            self._dispatch_waiting,
            self._settle,
            self._clean,
            self._prune,
            self._delete_released,
        ):
            try:
                step()
            except errors.StoreBusy as error:
                log.warning("sweep step postponed", extra={"step": step.__name__.strip("_"), "cause": str(error)})

    def _recall(self) -> None:
        with self._database.connection() as connection:
            unclaimed = lanes_sql.recall_unclaimed(connection, self._settings.claim_within_s)
        if unclaimed:
            log.warning("dispatched but not claimed", extra={"responses": unclaimed})

    def _dispatch_waiting(self) -> None:
        for _ in range(DISPATCHES):
            if not self._dispatch.dispatch():
                break
        with self._database.connection() as connection:
            unserved = frozenset(lanes_sql.unserved(connection, self._settings.worker_seen_s))
        for lane in sorted(unserved - self._unserved):
            log.warning("no worker serves lane", extra={"lane": lane})
        self._unserved = unserved

    def _settle(self) -> None:
        for _ in range(SETTLEMENTS):
            if self._ledger.settle() < LEDGER_BATCH:
                break

    def _clean(self) -> None:
        with self._database.connection() as connection:
            workers_sql.delete_unseen(connection, FORGET_WORKERS_S)
            circuits_sql.delete_old(connection, FORGET_CIRCUITS_S)
            lanes_sql.delete_old_turns(connection, TURNS_RETENTION_S)
            responses_sql.delete_unstored(connection, KEEP_UNSTORED_S, CLEANED)
            idempotency_sql.delete_old(connection, CLEANED)

    def _prune(self) -> None:
        with self._database.connection() as connection:
            events_sql.prune(connection, self._settings.events_kept_s, PRUNED)

    def _delete_released(self) -> None:
        try:
            with self._database.transaction() as connection:
                contents_sql.delete_released(connection, CONTENTS)
        except psycopg.errors.ForeignKeyViolation:
            return  # one of the contents was referenced concurrently; the next round checks again

    def _cancel_left(self) -> None:
        with self._database.connection() as connection:
            left = followers_sql.left(connection, BATCH)
        for response_id in left:
            self._safely(
                response_id,
                lambda response_id=response_id: self._endings.end(  # type: ignore[misc]
                    response_id, cancelled("no client waits for it any more"), lambda row: row.left
                ),
            )

    def _expire(self) -> None:
        stuck: set[str] = set()
        while True:
            with self._database.connection() as connection:
                found = runs_sql.expired(connection, BATCH, but=stuck)
            # Responses that cannot be recovered in this round are excluded, so that they do not block the others.
            stuck |= {one.id for one in found if not self._safely(one.id, lambda one=one: self._recover(one))}  # type: ignore[misc]
            if len(found) < BATCH:
                return

    def _safely(self, response_id: str, recover: Callable[[], object]) -> bool:
        """Run `recover` for one response; returns whether it was recovered.

        Any error but an unavailable Postgres is logged, so that it does not affect the other responses.
        """
        try:
            return bool(recover())
        except errors.StoreBusy as error:
            log.warning("recovery postponed", extra={"response": response_id, "cause": str(error)})
        except errors.StoreUnavailable:
            raise
        except Exception:
            log.exception("cannot recover", extra={"response": response_id})
        return False

    def _recover(self, expired: Expired) -> object:
        """End or requeue an expired response; returns a true value if that was written."""
        if expired.overdue:
            return self._endings.end(expired.id, _overdue(expired), _is_overdue)
        if expired.failures + 1 >= self._settings.max_failures:
            times = expired.failures + 1
            lost = failed(Code.SERVER_ERROR, f"The worker running this response was lost {times} times.")
            return self._endings.end(expired.id, lost, _lost(expired.attempt))
        return self._requeue(expired)

    def _requeue(self, expired: Expired) -> bool:
        delay_s = 2 ** min(expired.failures, 6) * random.uniform(0.5, 1)  # noqa: S311  # jitter
        with self._database.connection() as connection:
            back = runs_sql.requeue(
                connection,
                expired.id,
                expired.attempt,
                outcome="lost",
                cause="the lease expired",
                delay_s=delay_s,
            )
        if back:
            log.warning("lease lost", extra={"response": expired.id, "attempt": expired.attempt})
        return back


def _overdue(expired: Expired) -> Outcome:
    if expired.status == Status.IN_PROGRESS:
        return failed(Code.SERVER_ERROR, "The response did not end within the time a run may take.")
    if expired.unavailable:
        return failed(
            Code(expired.error_code or Code.SERVER_ERROR),
            "The response could not be run before its deadline, because its model server was unavailable:"
            f" {expired.cause}",
        )
    if expired.cause is None:
        return failed(Code.SERVER_ERROR, "No worker was free before the response's deadline.")
    return failed(
        Code(expired.error_code or Code.SERVER_ERROR),
        f"The response could not be run before its deadline; the last attempt: {expired.cause}",
    )


def _is_overdue(row: Locked) -> bool:
    return row.overdue


def _lost(attempt: int) -> Fence:
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt and row.lease_lost

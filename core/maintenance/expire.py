"""Chore: end or requeue responses whose lease, run or wait has expired."""

import logging
import random

from core.codes import Code
from core.database import Database
from core.maintenance.chore import BATCH, recovered
from core.runs import runs_sql
from core.runs.ends import Endings, Fence, Locked, Outcome, failed
from core.runs.runs_sql import Expired
from core.settings import Settings
from core.wire.status import Status

log = logging.getLogger(__name__)


class Expire:
    """Ends responses past a deadline, and requeues those whose worker was lost."""

    name = "expire"

    def __init__(self, database: Database, endings: Endings, settings: Settings) -> None:
        self._database = database
        self._endings = endings
        self._settings = settings

    def perform(self) -> None:
        """Recover all expired responses."""
        stuck: set[str] = set()
        while True:
            with self._database.connection() as connection:
                found = runs_sql.expired(connection, BATCH, but=stuck)
            # Responses that cannot be recovered in this round are excluded, so that they do not block the others.
            stuck |= {one.id for one in found if not self._recovered(one)}
            if len(found) < BATCH:
                return

    def _recovered(self, expired: Expired) -> bool:
        return recovered(expired.id, lambda: self._recover(expired))

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

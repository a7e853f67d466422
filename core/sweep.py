"""The sweeper: whatever was forgotten is rung, put back or ended. Any number may run at once."""

import logging
import random

from core import errors, tiers
from core.attempts import shown
from core.creation import KEY_KEPT_S
from core.db import Database
from core.dispatch import Dispatch
from core.endings import Endings, Fence, Locked, Outcome, cancelled, failed
from core.lifecycle import Status
from core.settings import Settings
from core.store import followers, idempotency, lanes, responses, runs, workers
from core.store.runs import Expired

log = logging.getLogger(__name__)

BATCH = 50
# A response that is not stored goes with its delivery; what was never delivered, so long after its end.
KEEP_UNSTORED_S = 60
# Rows of workers are kept for a while after they were last seen, for whoever looks for the reason.
FORGET_WORKERS_S = 600


class Sweep:
    """One round of everything nobody else looks after."""

    def __init__(self, database: Database, dispatch: Dispatch, endings: Endings, settings: Settings) -> None:
        self._database = database
        self._dispatch = dispatch
        self._endings = endings
        self._settings = settings

    def run(self) -> None:
        """Ring again, dispatch, recover lost runs, end what is overdue, forget dead workers.

        Raises:
            errors.StoreUnavailable: the round stopped there; the next one does the rest.
        """
        with self._database.connection() as connection:
            unclaimed = lanes.unring_unclaimed(connection, self._settings.claim_within_s)
            if unclaimed:
                log.warning("nobody claimed in time", extra={"responses": unclaimed})
            workers.delete_unseen(connection, FORGET_WORKERS_S)
            responses.delete_unstored(connection, KEEP_UNSTORED_S)
            idempotency.delete_old(connection, KEY_KEPT_S)
        self._expire()
        self._cancel_left()
        while self._dispatch.dispatch(tiers.LANE):
            pass

    def _cancel_left(self) -> None:
        with self._database.connection() as connection:
            left = followers.left(connection, BATCH)
        for response_id in left:
            self._endings.end(response_id, cancelled("nobody waits for it any more"), lambda row: not row.background)

    def _expire(self) -> None:
        while True:
            with self._database.connection() as connection:
                found = runs.expired(connection, BATCH)
            ended = sum(self._recover_one(expired) for expired in found)
            if ended < BATCH:
                return

    def _recover_one(self, expired: Expired) -> bool:
        try:
            self._recover(expired)
        except errors.StoreUnavailable:
            raise
        except Exception:  # one bad row must not keep the others from being ended
            log.exception("cannot recover", extra={"response": expired.id})
            return False
        return True

    def _recover(self, expired: Expired) -> None:
        if expired.overdue:
            self._endings.end(expired.id, _overdue(expired), _is_overdue)
        elif shown(expired.background, expired.next_seq):
            self._endings.end(
                expired.id,
                failed("server_error", "The worker running this response was lost after output had been shown."),
                _lost(expired.attempt),
            )
        elif expired.failures + 1 >= self._settings.max_failures:
            self._endings.end(
                expired.id,
                failed("server_error", f"The worker running this response was lost {expired.failures + 1} times."),
                _lost(expired.attempt),
            )
        else:
            delay_s = 2 ** min(expired.failures, 6) * random.uniform(0.5, 1)  # noqa: S311  # jitter
            with self._database.connection() as connection:
                runs.requeue(
                    connection,
                    expired.id,
                    expired.attempt,
                    outcome="lost",
                    cause="the lease ran out",
                    delay_s=delay_s,
                )
            log.warning("lease lost", extra={"response": expired.id, "attempt": expired.attempt})


def _overdue(expired: Expired) -> Outcome:
    if expired.status == Status.IN_PROGRESS:
        return failed("server_error", "The response did not end within the time a run may take.")
    if expired.cause is None:
        return failed("server_error", "No worker was free before the response's deadline.")
    return failed(
        expired.error_code or "server_error",
        f"The response could not be run before its deadline; the last try: {expired.cause}",
    )


def _is_overdue(row: Locked) -> bool:
    return row.overdue


def _lost(attempt: int) -> Fence:
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt and row.lease_lost

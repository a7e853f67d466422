"""Chore: end responses that are past a deadline, and recover responses with an expired lease."""

import logging
import random
import time
from functools import partial

from core.codes import Code
from core.database import Database
from core.dispatch import lanes_sql
from core.maintenance.chore import BATCH_SIZE
from core.maintenance.recovery import Recovery
from core.runs import runs_sql
from core.runs.ends import Endings, Fence, LockedResponse, Outcome, failed_outcome
from core.runs.runs_sql import ExpiredResponse
from core.settings import Settings
from core.wire.status import Status

log = logging.getLogger(__name__)

# Maximum duration of this chore, because the other chores of a round wait for it.
MAX_ROUND_S = 10.0


class Expire:
    """Ends responses past a deadline, and requeues responses of lost workers."""

    name = "expire"

    def __init__(self, database: Database, endings: Endings, settings: Settings) -> None:
        self._database = database
        self._recovery = Recovery(database)
        self._endings = endings
        self._settings = settings

    def perform(self) -> None:
        """Recover expired responses until none remains, for at most `MAX_ROUND_S` seconds."""
        deadline = time.monotonic() + MAX_ROUND_S
        failed_ids = self._recovery.postponed_ids()
        while time.monotonic() < deadline:
            # Responses that could not be recovered are excluded, so that they do not block the others.
            with self._database.connection() as connection:
                responses = runs_sql.select_expired(connection, BATCH_SIZE, excluded_ids=failed_ids)
                unknown_models = (
                    lanes_sql.list_unknown_models(connection, self._settings.worker_seen_s) if responses else []
                )
            for response in responses:
                is_unknown_model = (response.lane, response.model) in unknown_models
                if not self._recovery.try_to_recover(response.id, partial(self._recover, response, is_unknown_model)):
                    failed_ids.add(response.id)
                if time.monotonic() >= deadline:
                    return
            if len(responses) < BATCH_SIZE:
                return

    def _recover(self, response: ExpiredResponse, is_unknown_model: bool) -> object:
        """End or requeue an expired response; return a true value if the change was written."""
        if response.overdue:
            return self._endings.end(response.id, _overdue_outcome(response, is_unknown_model), _is_overdue)
        if response.failures + 1 >= self._settings.max_failures:
            failures = response.failures + 1
            outcome = failed_outcome(Code.SERVER_ERROR, f"The worker running this response was lost {failures} times.")
            return self._endings.end(response.id, outcome, _lost_lease_fence(response.attempt))
        return self._requeue(response)

    def _requeue(self, response: ExpiredResponse) -> bool:
        delay_s = 2 ** min(response.failures, 6) * random.uniform(0.5, 1)  # noqa: S311  # jitter
        with self._database.connection() as connection:
            was_requeued = runs_sql.requeue(
                connection,
                response.id,
                response.attempt,
                outcome="lost",
                cause="the lease expired",
                delay_s=delay_s,
            )
        if was_requeued:
            log.warning("lease lost", extra={"response": response.id, "attempt": response.attempt})
        return was_requeued


def _overdue_outcome(response: ExpiredResponse, is_unknown_model: bool) -> Outcome:
    if response.status == Status.IN_PROGRESS:
        return failed_outcome(Code.SERVER_ERROR, "The response did not end within the time a run may take.")
    if response.unavailable:
        return failed_outcome(
            Code(response.error_code or Code.SERVER_ERROR),
            "The response could not be run before its deadline, because its model server was unavailable:"
            f" {response.cause}",
        )
    if is_unknown_model:
        return failed_outcome(
            Code.SERVER_ERROR,
            f"The response could not be run before its deadline, because no worker knows the model '{response.model}'.",
        )
    if response.cause is None:
        return failed_outcome(Code.SERVER_ERROR, "No worker was free before the response's deadline.")
    return failed_outcome(
        Code(response.error_code or Code.SERVER_ERROR),
        f"The response could not be run before its deadline; the last attempt: {response.cause}",
    )


def _is_overdue(row: LockedResponse) -> bool:
    return row.overdue


def _lost_lease_fence(attempt: int) -> Fence:
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt and row.lease_lost

"""Renews the leases of the runs of this process, and gives up leases that may have expired."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from functools import partial

from core import errors
from core.runs.attempts import Attempts
from core.settings import Settings
from worker.run.live_runs import LiveRuns
from worker.run.run import Run, StopReason

log = logging.getLogger(__name__)

# A lease that cannot be renewed is given up before it expires. The margin is this fraction of its duration.
_MARGIN_FRACTION = 1 / 6
# How often the expiry of leases is checked during the duration of one lease.
_CHECKS_PER_LEASE = 30
# Minimum interval between two renewals that notices cause.
_MIN_CHECK_INTERVAL_S = 0.05


class LeaseKeeper:
    """Renews the leases of this process, and stops runs with a lease that may have expired.

    Attributes:
        last_renewal_at: time when the last round of renewals ended, successful or not (monotonic clock).
    """

    def __init__(self, attempts: Attempts, settings: Settings, runs: LiveRuns) -> None:
        self._attempts = attempts
        self._settings = settings
        self._runs = runs
        self._usable_s = settings.lease_s * (1 - _MARGIN_FRACTION)
        self.last_renewal_at = time.monotonic()
        self._checked_ids: set[str] = set()
        self._must_check = asyncio.Event()

    def give_up_time(self, requested_at: float) -> float:
        """Return the time at which to give up a lease that was requested at `requested_at` (monotonic clock)."""
        return requested_at + self._usable_s

    async def run(self) -> None:
        """Renew leases, and stop runs with a lease that may have expired, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_leases())
            tasks.create_task(self._check_leases())
            tasks.create_task(self._stop_expired_runs())

    def check_lease(self, response_id: str) -> None:
        """Check soon, by a renewal, whether the run of a response must stop; do nothing if there is no such run.

        A notice that another process has ended the response may be forged, so only Postgres can answer.
        """
        if response_id in self._runs:
            self._checked_ids.add(response_id)
            self._must_check.set()

    async def _renew_leases(self) -> None:
        while True:
            self.last_renewal_at = time.monotonic()
            await asyncio.sleep(self._settings.renew_every_s)
            await self._renew(self._runs.list_active(), StopReason.LOST)

    async def _check_leases(self) -> None:
        while True:
            await self._must_check.wait()
            self._must_check.clear()
            checked_ids, self._checked_ids = self._checked_ids, set()
            runs = [run for run in self._runs.list_active() if run.attempt.response_id in checked_ids]
            for response_id in await self._renew(runs, StopReason.ENDED):
                self.check_lease(response_id)
            await asyncio.sleep(_MIN_CHECK_INTERVAL_S)

    async def _renew(self, runs: Sequence[Run], stop_reason: StopReason) -> Collection[str]:
        """Renew the leases of runs, and stop the runs whose leases are refused.

        Returns:
            The IDs of the responses whose rows are locked, so that it is unknown whether they may run.
        """
        if not runs:
            return ()
        requested_at = time.monotonic()
        attempt_keys = [run.attempt_key for run in runs]
        try:
            result = await self._runs.write(partial(self._attempts.renew, attempt_keys))
        except errors.StoreUnavailable as error:
            log.warning("cannot renew leases", extra={"responses": len(runs), "cause": str(error)})
            return ()
        for run in runs:
            if run.attempt.response_id in result.succeeded_ids:
                run.leased_until = self.give_up_time(requested_at)
            elif run.attempt.response_id not in result.locked_ids:
                run.stop(stop_reason)
        return result.locked_ids

    async def _stop_expired_runs(self) -> None:
        """Stop runs with a lease that may have expired because Postgres was unavailable or this process was frozen."""
        while True:
            await asyncio.sleep(self._settings.lease_s / _CHECKS_PER_LEASE)
            for run in self._runs.list_active():
                if run.may_have_lost_lease:
                    log.warning(
                        "gave up a lease that could not be renewed",
                        extra={"response": run.attempt.response_id, "attempt": run.attempt.number},
                    )
                    run.stop(StopReason.LOST)

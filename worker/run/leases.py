"""Renews the leases of the runs of this process, and gives up those that may have expired."""

import asyncio
import logging
import time

from core import errors
from core.runs.attempts import Attempts
from core.settings import Settings
from worker.run.live_runs import LiveRuns
from worker.run.run import Stop

log = logging.getLogger(__name__)

# A lease that cannot be renewed is given up before it expires, by this fraction of its length.
_MARGIN = 1 / 6


class LeaseKeeper:
    """Keeps the leases of this process.

    Attributes:
        tried_at: when a renewal last finished, whether or not it succeeded, by the monotonic clock.
    """

    def __init__(self, attempts: Attempts, settings: Settings, runs: LiveRuns) -> None:
        self._attempts = attempts
        self._settings = settings
        self._runs = runs
        self._keep_s = settings.lease_s * (1 - _MARGIN)
        self.tried_at = time.monotonic()

    def until(self, claimed_at: float) -> float:
        """When to give up a lease that was claimed or renewed at `claimed_at`, by the monotonic clock."""
        return claimed_at + self._keep_s

    async def run(self) -> None:
        """Renew leases and give up expired ones until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_for_ever())
            tasks.create_task(self._give_up_for_ever())

    async def _renew_for_ever(self) -> None:
        while True:
            self.tried_at = time.monotonic()
            await asyncio.sleep(self._settings.renew_every_s)
            runs = self._runs.active()
            if not runs:
                continue
            asked_at = time.monotonic()
            fences = [run.fence for run in runs]
            try:
                result = await self._runs.write(lambda fences=fences: self._attempts.renew(fences))  # type: ignore[misc]
            except errors.StoreUnavailable as error:
                log.warning("cannot renew leases", extra={"responses": len(runs), "cause": str(error)})
                continue
            for run in runs:
                if run.attempt.response_id in result.done:
                    run.leased_until = self.until(asked_at)
                elif run.attempt.response_id not in result.still_leased:
                    run.stop(Stop.LOST)

    async def _give_up_for_ever(self) -> None:
        """Stop runs whose lease may have expired by the local clock: Postgres is down, or this process was frozen."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 30)
            for run in self._runs.active():
                if run.expired:
                    log.warning(
                        "gave up a lease that could not be renewed",
                        extra={"response": run.attempt.response_id, "attempt": run.attempt.number},
                    )
                    run.stop(Stop.LOST)

"""Supervises the runs of this process: writes their events and renews their leases."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from core.notify.bus import Bus, EndNotice
from core.runs.attempt import Attempt
from core.runs.attempts import Attempts, Batch
from core.settings import Settings
from worker.run.flusher import EventFlusher
from worker.run.leases import LeaseKeeper
from worker.run.live_runs import LiveRuns
from worker.run.run import Run


class RunSupervisor:
    """Supervises the runs of this process with an event flusher and a lease keeper."""

    def __init__(self, attempts: Attempts, bus: Bus, settings: Settings) -> None:
        self._runs = LiveRuns()
        self._flusher = EventFlusher(attempts, bus, settings, self._runs)
        self._leases = LeaseKeeper(attempts, settings, self._runs)

    @property
    def run_count(self) -> int:
        """The number of runs in this process."""
        return len(self._runs)

    @property
    def last_renewal_at(self) -> float:
        """Time when the last round of lease renewals ended, successful or not (monotonic clock)."""
        return self._leases.last_renewal_at

    async def run(self) -> None:
        """Flush events and renew leases until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flusher.run())
            tasks.create_task(self._leases.run())

    @contextmanager
    def supervised_run(self, attempt: Attempt, claimed_at: float) -> Iterator[Run]:
        """Yield the run of an attempt, and renew its lease inside the block.

        Args:
            claimed_at: time (monotonic clock) when the claim was sent.
        """
        run = Run(
            attempt,
            leased_until=self._leases.give_up_time(claimed_at),
            wake=self._flusher.wake,
            wake_later=self._flusher.wake_later,
        )
        self._runs.add(run)
        try:
            yield run
        finally:
            self._runs.remove(run)

    def handle_end(self, notice: EndNotice) -> None:
        """Stop the run of a response that another process has ended; do nothing if there is no such run."""
        if notice.is_signed:
            self._runs.stop(notice.response_id)
        else:
            self._leases.check_lease(notice.response_id)

    async def take_last_batch(self, run: Run) -> Batch:
        """Wait until all earlier batches of an ending run are written; return its last batch.

        The result must not be used if the run was stopped in the meantime.
        """
        return await self._flusher.take_last_batch(run)

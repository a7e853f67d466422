"""Supervises the runs of this process: their events are written, and their leases are kept."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from core.notify.bus import Bus
from core.runs.attempts import Attempt, Attempts, Batch
from core.settings import Settings
from worker.run.flusher import EventFlusher
from worker.run.leases import LeaseKeeper
from worker.run.live_runs import LiveRuns
from worker.run.run import Run


class RunSupervisor:
    """The runs of this process, with their flusher and the keeper of their leases."""

    def __init__(self, attempts: Attempts, bus: Bus, settings: Settings) -> None:
        self._runs = LiveRuns()
        self._flusher = EventFlusher(attempts, bus, settings, self._runs)
        self._leases = LeaseKeeper(attempts, settings, self._runs)

    @property
    def running(self) -> int:
        """The number of runs in this process."""
        return len(self._runs)

    @property
    def tried_at(self) -> float:
        """When a renewal of leases last finished, by the monotonic clock."""
        return self._leases.tried_at

    async def run(self) -> None:
        """Flush events, renew leases and give up expired ones until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flusher.run())
            tasks.create_task(self._leases.run())

    @contextmanager
    def keeping(self, attempt: Attempt, claimed_at: float) -> Iterator[Run]:
        """Create the run of an attempt claimed at `claimed_at` (monotonic clock); renew its lease inside the block."""
        flusher = self._flusher
        run = Run(
            attempt, leased_until=self._leases.until(claimed_at), wake=flusher.wake, wake_later=flusher.wake_later
        )
        self._runs.add(run)
        try:
            yield run
        finally:
            self._runs.remove(run)

    def stop(self, response_id: str) -> None:
        """Stop the run of a response that another process ended; ignore the ID if it does not run here."""
        self._runs.stop(response_id)

    async def tail(self, run: Run) -> Batch:
        """Return the last batch of a run that is ending, after all earlier batches have been written.

        The result is meaningless if the run was stopped in the meantime.
        """
        return await self._flusher.tail(run)

"""The runs of this process, and the one thread that writes for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.run.run import Run, Stop

T = TypeVar("T")


class LiveRuns:
    """The runs of this process by response ID.

    A single thread makes all their writes: two writers that lock the same rows in different orders would deadlock.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def __len__(self) -> int:
        return len(self._runs)

    def active(self) -> list[Run]:
        """The runs that are not stopped."""
        return [run for run in self._runs.values() if run.stopped is None]

    def add(self, run: Run) -> None:
        """Add a run; an older one of the same response is stopped."""
        before = self._runs.get(run.attempt.response_id)
        if before is not None:
            # This process has claimed the response again: it was frozen for longer than the lease.
            before.stop(Stop.LOST)
        self._runs[run.attempt.response_id] = run

    def remove(self, run: Run) -> None:
        """Remove a run, unless a newer one of the same response has replaced it."""
        if self._runs.get(run.attempt.response_id) is run:
            del self._runs[run.attempt.response_id]

    def stop(self, response_id: str) -> None:
        """Stop the run of a response that another process ended; ignore the ID if it does not run here."""
        run = self._runs.get(response_id)
        if run is not None:
            run.stop(Stop.ENDED)

    async def write(self, call: Callable[[], T]) -> T:
        """Call a function that writes, in the thread of all writes."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

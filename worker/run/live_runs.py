"""The runs of this process, and the single thread that performs their writes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.run.run import Run, StopReason

ResultT = TypeVar("ResultT")


class LiveRuns:
    """The runs of this process by response ID.

    A single thread performs the writes of all runs: two writers that lock the same rows in different orders would
    deadlock.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._runs

    def list_active(self) -> list[Run]:
        """Return the runs that are not stopped."""
        return [run for run in self._runs.values() if run.stop_reason is None]

    def add(self, run: Run) -> None:
        """Add a run, and stop the older run of the same response, if any."""
        older_run = self._runs.get(run.attempt.response_id)
        if older_run is not None:
            # This process was frozen until the lease expired, and then claimed the response again.
            older_run.stop(StopReason.LOST)
        self._runs[run.attempt.response_id] = run

    def remove(self, run: Run) -> None:
        """Remove a run, unless a newer run of the same response has replaced it."""
        if self._runs.get(run.attempt.response_id) is run:
            del self._runs[run.attempt.response_id]

    def stop(self, response_id: str) -> None:
        """Stop the run of a response that another process ended; do nothing if there is no such run."""
        run = self._runs.get(response_id)
        if run is not None:
            run.stop(StopReason.ENDED)

    async def write(self, function: Callable[[], ResultT]) -> ResultT:
        """Call a function that writes, in the writer thread; return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, function)

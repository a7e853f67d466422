"""The pulse of a worker process: events flushed and leases renewed for all its runs, by one writer."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from core import errors
from core.attempts import Attempt, Attempts, Batch
from core.settings import Settings
from worker.run import Run, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

# A lease that could not be renewed is given up before it ends by this part of its length.
_MARGIN = 1 / 6
_AGAIN_S = 0.2


class Pulse:
    """Keeps the runs of this process alive and their events written.

    One thread does all of it: two writers locking the same rows in different orders would deadlock.
    """

    def __init__(self, attempts: Attempts, settings: Settings) -> None:
        self._attempts = attempts
        self._settings = settings
        self._keep_s = settings.lease_s * (1 - _MARGIN)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pulse")
        self._runs: dict[str, Run] = {}
        self._dirty = asyncio.Event()
        self._flushing = asyncio.Lock()

    async def run(self) -> None:
        """Beat until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._flush_for_ever())
            tasks.create_task(self._renew_for_ever())
            tasks.create_task(self._give_up_for_ever())

    @contextmanager
    def keeping(self, attempt: Attempt, claimed_at: float) -> Iterator[Run]:
        """A run for an attempt claimed at `claimed_at` (monotonic), kept alive inside the block."""
        run = Run(attempt, held_until=claimed_at + self._keep_s, wake=self._dirty.set)
        self._runs[attempt.response_id] = run
        try:
            yield run
        finally:
            if self._runs.get(attempt.response_id) is run:
                del self._runs[attempt.response_id]

    def stop(self, response_id: str) -> None:
        """Stop the run of a response that somebody else ended; unknown IDs are none of ours."""
        run = self._runs.get(response_id)
        if run is not None:
            run.stop(Stop.ENDED)

    async def tail(self, run: Run) -> Batch:
        """What is left to write of a run that is ending, after everything before it was written."""
        async with self._flushing:
            return run.freeze()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            async with self._flushing:
                await self._flush([run for run in self._runs.values() if run.dirty and run.stopped is None])
            await asyncio.sleep(self._settings.flush_every_s)

    async def _flush(self, runs: Sequence[Run]) -> None:
        waiting = {run.attempt.response_id: run.freeze() for run in runs}
        while waiting:
            batches = list(waiting.values())
            try:
                held = await self._write(lambda batches=batches: self._attempts.record(batches))  # type: ignore[misc]
            except errors.StoreUnavailable as error:
                log.warning("cannot write events", extra={"responses": len(batches), "cause": str(error)})
                await asyncio.sleep(_AGAIN_S)
                await self._drop_written(waiting)
            else:
                for run in runs:
                    if run.attempt.response_id in waiting and run.attempt.response_id not in held:
                        run.stop(Stop.LOST)
                return
            for run in runs:
                if run.stopped is not None:
                    waiting.pop(run.attempt.response_id, None)

    async def _drop_written(self, waiting: dict[str, Batch]) -> None:
        """After a write of unknown outcome: forget what the log has; the rest is sent again, unchanged."""
        try:
            for batch in await self._write(lambda: self._attempts.recorded(list(waiting.values()))):
                del waiting[batch.response_id]
        except errors.StoreUnavailable:
            return  # the caller comes back here

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.renew_every_s)
            runs = [run for run in self._runs.values() if run.stopped is None]
            if not runs:
                continue
            asked_at = time.monotonic()
            fences = [(run.attempt.response_id, run.attempt.number) for run in runs]
            try:
                held = await self._write(lambda fences=fences: self._attempts.renew(fences))  # type: ignore[misc]
            except errors.StoreUnavailable as error:
                log.warning("cannot renew", extra={"responses": len(runs), "cause": str(error)})
                continue
            for run in runs:
                if run.attempt.response_id in held:
                    run.held_until = asked_at + self._keep_s
                else:
                    run.stop(Stop.LOST)

    async def _give_up_for_ever(self) -> None:
        """Stop runs whose lease may be over, by our own clock: Postgres may be away, or we were frozen."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 30)
            for run in list(self._runs.values()):
                if run.expired and run.stopped is None:
                    log.warning(
                        "gave up a lease that could not be renewed",
                        extra={"response": run.attempt.response_id, "attempt": run.attempt.number},
                    )
                    run.stop(Stop.LOST)

    async def _write(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

"""Writes the events of all runs of this process in batches."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from core import errors
from core.notify.bus import Bus
from core.runs.attempts import Attempts, Batch
from core.settings import Settings
from worker.run.announcer import Announcer
from worker.run.live_runs import LiveRuns
from worker.run.run import Run, StopReason

log = logging.getLogger(__name__)

_RETRY_INTERVAL_S = 0.2
_LAST_BATCH_POLL_INTERVAL_S = 0.02
# The first output of a run does not wait for the next regular flush. Before the flusher writes first outputs, it idles
# for this multiple of the duration of the last flush.
_IDLE_FACTOR = 2
# The pause after a flush is `flush_every_s`. After a slow flush, it is this multiple of the duration of the flush, up
# to `_MAX_PAUSE_S`: if flushes are slow, fewer and larger flushes cost less overall.
_PAUSE_FACTOR = 4
_MAX_PAUSE_S = 0.2


class EventFlusher:
    """Writes the events that the runs of this process have collected, in batches."""

    def __init__(self, attempts: Attempts, bus: Bus, settings: Settings, runs: LiveRuns) -> None:
        self._attempts = attempts
        self._announcer = Announcer(bus)
        self._settings = settings
        self._runs = runs
        self._events_pending = asyncio.Event()
        self._first_output_pending = asyncio.Event()
        self._flush_lock = asyncio.Lock()

    def wake(self, is_urgent: bool) -> None:
        """Wake the flusher because a run has events; they are urgent if they are the run's first output."""
        self._events_pending.set()
        if is_urgent:
            self._first_output_pending.set()

    def wake_later(self) -> None:
        """Wake the flusher after `flush_every_s`."""
        asyncio.get_running_loop().call_later(self._settings.flush_every_s, self._events_pending.set)

    async def take_last_batch(self, run: Run) -> Batch:
        """Wait until all earlier batches of an ending run are written; return its last batch.

        The result must not be used if the run was stopped in the meantime.
        """
        while True:
            async with self._flush_lock:
                if run.unwritten_batch is None or run.stop_reason is not None:
                    return run.freeze_batch()
            self._events_pending.set()
            await asyncio.sleep(_LAST_BATCH_POLL_INTERVAL_S)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await self._events_pending.wait()
            self._events_pending.clear()
            all_written, duration_s = await self._flush_matching_runs(lambda run: run.has_pending_events)
            if all_written:
                await self._pause(duration_s)
            else:
                self._events_pending.set()
                await asyncio.sleep(_RETRY_INTERVAL_S)

    async def _pause(self, duration_s: float) -> None:
        """Pause until the next flush; in the meantime, write only first outputs, because clients wait for them.

        First outputs that arrive while the flusher idles are written together, so that many starting runs cost few
        flushes.
        """
        deadline = time.monotonic() + max(self._settings.flush_every_s, min(duration_s * _PAUSE_FACTOR, _MAX_PAUSE_S))
        while await self._wait_for_first_output(duration_s * _IDLE_FACTOR, deadline):
            all_written, duration_s = await self._flush_matching_runs(lambda run: run.is_urgent)
            if not all_written:
                self._events_pending.set()
                await asyncio.sleep(deadline - time.monotonic())

    async def _wait_for_first_output(self, idle_s: float, deadline: float) -> bool:
        """Idle for `idle_s`, then wait for a first output until the deadline; return whether there was one."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.sleep(idle_s)
                await self._first_output_pending.wait()
        except TimeoutError:
            return False
        return True

    async def _flush_matching_runs(self, matches: Callable[[Run], bool]) -> tuple[bool, float]:
        """Write the events of the active runs that match; return whether all were written, and the seconds it took."""
        self._first_output_pending.clear()
        started_at = time.monotonic()
        async with self._flush_lock:
            all_written = await self._flush_runs([run for run in self._runs.list_active() if matches(run)])
        return all_written, time.monotonic() - started_at

    async def _flush_runs(self, runs: Sequence[Run]) -> bool:
        """Write the events of these runs; return whether all were written."""
        for run in runs:
            if run.unwritten_batch is None and not run.is_ending:
                run.unwritten_batch = run.freeze_batch()
        runs = [run for run in runs if run.unwritten_batch is not None]
        try:
            return await self._write_batches(runs)
        except errors.StoreUnavailable as error:
            log.warning("cannot write events", extra={"responses": len(runs), "cause": str(error)})
            await self._drop_written_batches(runs)
        except errors.StoreDataError:
            # One of the batches is invalid: write each batch separately, so that only one run is stopped.
            for run in runs:
                await self._write_batch(run)
        return False

    async def _write_batches(self, runs: Sequence[Run]) -> bool:
        batches = [run.unwritten_batch for run in runs if run.unwritten_batch is not None]
        if not batches:
            return True
        result = await self._runs.write(lambda: self._attempts.append_events(batches))
        self._announcer.announce(batch for batch in batches if batch.response_id in result.succeeded_ids)
        for run in runs:
            if run.attempt.response_id in result.succeeded_ids:
                run.unwritten_batch = None
            elif run.attempt.response_id not in result.locked_ids:
                run.stop(StopReason.LOST)
        return not result.locked_ids

    async def _write_batch(self, run: Run) -> None:
        try:
            await self._write_batches([run])
        except errors.StoreUnavailable:
            return  # the next flush writes the batch
        except errors.StoreDataError as error:
            log.error("cannot write events", extra={"response": run.attempt.response_id, "cause": str(error)})  # noqa: TRY400
            run.stop(StopReason.LOST)

    async def _drop_written_batches(self, runs: Sequence[Run]) -> None:
        """After a write with an unknown outcome, drop the batches that are in the log, so that they are not retried."""
        batches = [run.unwritten_batch for run in runs if run.unwritten_batch is not None]
        try:
            written_ids = {
                batch.response_id for batch in await self._runs.write(lambda: self._attempts.find_written(batches))
            }
        except errors.StoreUnavailable:
            return  # the next flush writes the batches
        self._announcer.announce(batch for batch in batches if batch.response_id in written_ids)
        for run in runs:
            if run.attempt.response_id in written_ids:
                run.unwritten_batch = None

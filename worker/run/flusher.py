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
from worker.run.run import Run, Stop

log = logging.getLogger(__name__)

_AGAIN_S = 0.2
# First outputs do not wait for the next flush. Before it writes them, the writer idles for this multiple of the last
# flush's duration.
_REST = 2
# The next flush starts after this multiple of the last flush's duration, at most after `_LONGEST_S`: if flushes are
# slow, fewer and larger flushes cost less overall.
_PAUSE = 4
_LONGEST_S = 0.2


class EventFlusher:
    """Flushes the events that runs have collected."""

    def __init__(self, attempts: Attempts, bus: Bus, settings: Settings, runs: LiveRuns) -> None:
        self._attempts = attempts
        self._announcer = Announcer(bus)
        self._settings = settings
        self._runs = runs
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        self._flushing = asyncio.Lock()

    def wake(self, urgent: bool) -> None:
        """Note that a run has events; urgent ones are a response's first output."""
        self._dirty.set()
        if urgent:
            self._urgent.set()

    def wake_later(self) -> None:
        """Flush after the usual pause, with what has been collected by then."""
        asyncio.get_running_loop().call_later(self._settings.flush_every_s, self._dirty.set)

    async def tail(self, run: Run) -> Batch:
        """Return the last batch of a run that is ending, after all earlier batches have been written.

        The result is meaningless if the run was stopped in the meantime.
        """
        while True:
            async with self._flushing:
                if run.unwritten is None or run.stopped is not None:
                    return run.freeze()
            self._dirty.set()
            await asyncio.sleep(_AGAIN_S / 10)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            complete, took_s = await self._flush_those(lambda run: run.dirty)
            if complete:
                await self._pause(took_s)
            else:
                self._dirty.set()
                await asyncio.sleep(_AGAIN_S)

    async def _pause(self, took_s: float) -> None:
        """Collect events until the next flush; before that, write only first outputs, because clients wait for them.

        First outputs that arrive while the writer idles are written together, so that many starting runs cost few
        flushes.
        """
        until = time.monotonic() + max(self._settings.flush_every_s, min(took_s * _PAUSE, _LONGEST_S))
        while await self._first_output(took_s * _REST, until):
            complete, took_s = await self._flush_those(lambda run: run.urgent)
            if not complete:
                self._dirty.set()
                await asyncio.sleep(until - time.monotonic())

    async def _first_output(self, rest_s: float, until: float) -> bool:
        """Idle for `rest_s`, then wait for a first output; return whether there is one before `until`."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await asyncio.sleep(rest_s)
                await self._urgent.wait()
        except TimeoutError:
            return False
        return True

    async def _flush_those(self, wanted: Callable[[Run], bool]) -> tuple[bool, float]:
        """Write the events of the selected runs; return False if some must be written again, and the duration."""
        self._urgent.clear()
        began_at = time.monotonic()
        async with self._flushing:
            complete = await self._flush([run for run in self._runs.active() if wanted(run)])
        return complete, time.monotonic() - began_at

    async def _flush(self, runs: Sequence[Run]) -> bool:
        """Write the events of these runs; return False if some must be written again."""
        for run in runs:
            if run.unwritten is None and not run.ending:
                run.unwritten = run.freeze()
        runs = [run for run in runs if run.unwritten is not None]
        try:
            return await self._write_all(runs)
        except errors.StoreUnavailable as error:
            log.warning("cannot write events", extra={"responses": len(runs), "cause": str(error)})
            await self._forget_written(runs)
        except errors.StoreRefused:
            # One of the batches is invalid: write each alone, so that only its run is stopped.
            for run in runs:
                await self._write_one(run)
        return False

    async def _write_all(self, runs: Sequence[Run]) -> bool:
        batches = [run.unwritten for run in runs if run.unwritten is not None]
        if not batches:
            return True
        result = await self._runs.write(lambda: self._attempts.record(batches))
        self._announcer.announce(batch for batch in batches if batch.response_id in result.done)
        for run in runs:
            if run.attempt.response_id in result.done:
                run.unwritten = None
            elif run.attempt.response_id not in result.still_leased:
                run.stop(Stop.LOST)
        return not result.still_leased

    async def _write_one(self, run: Run) -> None:
        try:
            await self._write_all([run])
        except errors.StoreUnavailable:
            return  # the next flush writes it
        except errors.StoreRefused as error:
            log.error("cannot write events", extra={"response": run.attempt.response_id, "cause": str(error)})  # noqa: TRY400
            run.stop(Stop.LOST)

    async def _forget_written(self, runs: Sequence[Run]) -> None:
        """After a write with an unknown outcome, drop the batches that are in the log; the rest is sent unchanged."""
        batches = [run.unwritten for run in runs if run.unwritten is not None]
        try:
            written = {batch.response_id for batch in await self._runs.write(lambda: self._attempts.recorded(batches))}
        except errors.StoreUnavailable:
            return  # the next flush writes them
        self._announcer.announce(batch for batch in batches if batch.response_id in written)
        for run in runs:
            if run.attempt.response_id in written:
                run.unwritten = None

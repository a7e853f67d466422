"""Batcher that combines concurrent calls from several threads into one call.

Use it for work that costs little more for many items than for one, such as a SQL statement.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Batch(Generic[T, R]):
    """The items of one batch, and their outcomes once the locks of the waiting threads are released."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.asleep: list[threading.Lock] = []
        self.outcomes: Sequence[R | Exception] = ()


class Batcher(Generic[T, R]):
    """Runs concurrent calls as batches: callers that arrive during a batch form the next one.

    No added latency: if no batch is in flight, the caller runs immediately. The work for an item always starts after
    the item was submitted, so its caller never gets a result that was read earlier.

    Args:
        work: processes a batch and returns one outcome per item, in the order of the items. An outcome that is an
            exception is raised in the caller that submitted the item. An exception raised by `work` itself is raised
            in every caller of the batch.
        most: maximum number of items per batch.
        after: called with the items and outcomes, in the thread that ran the batch, after all other callers of the
            batch have been released.
        turn_s: seconds that the next batch waits for the current one. After that it runs concurrently, so a call that
            hangs does not block all the others.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        most: int,
        turn_s: float = 0.05,
        after: Callable[[Sequence[T], Sequence[R | Exception]], None] = lambda _, __: None,
    ) -> None:
        self._work = work
        self._most = most
        self._turn_s = turn_s
        self._after = after
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: _Batch[T, R] | None = None

    def do(self, item: T) -> R:
        """Process an item, in this thread or as part of another thread's batch, and return its outcome."""
        with self._lock:
            batch = self._next
            leads = batch is None or len(batch.items) >= self._most
            if batch is None or leads:
                batch = self._next = _Batch()
            place = len(batch.items)
            batch.items.append(item)
            if not leads:
                # One lock per thread: an Event shares one lock, which all waiters would acquire in turn when they wake.
                mine = threading.Lock()
                mine.acquire()
                batch.asleep.append(mine)
        if leads:
            self._run(batch)
        else:
            mine.acquire()
        outcome = batch.outcomes[place]
        if isinstance(outcome, Exception):
            # Raising an exception modifies it (traceback, context), so each caller raises its own copy.
            raise copy.copy(outcome) from outcome.__cause__
        return outcome

    def _run(self, batch: _Batch[T, R]) -> None:
        has_turn = self._turn.acquire(timeout=self._turn_s)
        try:
            with self._lock:
                if self._next is batch:
                    self._next = None
            try:
                batch.outcomes = self._work(batch.items)
            except Exception as error:  # noqa: BLE001  re-raised in every caller
                batch.outcomes = [error] * len(batch.items)
        finally:
            if has_turn:
                self._turn.release()
            for each in batch.asleep:
                each.release()
        self._after(batch.items, batch.outcomes)

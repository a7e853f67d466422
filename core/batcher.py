"""A batcher that combines concurrent calls from several threads into one call.

Use it for work that costs little more for many items than for one, such as a SQL statement.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Batch(Generic[T, R]):
    """One batch: its items, the locks of the waiting callers, and the outcomes, set before the locks are released."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.waiter_locks: list[threading.Lock] = []
        self.outcomes: Sequence[R | Exception] = ()


class Batcher(Generic[T, R]):
    """Runs concurrent calls as batches: callers that arrive during a batch form the next one.

    No added latency: if no batch is in flight, the caller runs immediately. The work for an item always starts after
    the item was submitted, so no caller gets a result that was read before its call.

    Args:
        work: processes a batch and returns one outcome per item, in the order of the items. An outcome that is an
            exception is raised in the caller that submitted the item. An exception raised by `work` itself is raised
            in every caller of the batch.
        max_items: maximum number of items per batch.
        on_batch_end: called with the items and outcomes, in the thread that ran the batch, after all other callers have
            been released.
        turn_timeout_s: seconds that the next batch waits for the current one. After that it runs concurrently, so that
            a hanging call does not block all the others.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_items: int,
        turn_timeout_s: float = 0.05,
        on_batch_end: Callable[[Sequence[T], Sequence[R | Exception]], None] = lambda _, __: None,
    ) -> None:
        self._work = work
        self._max_items = max_items
        self._turn_timeout_s = turn_timeout_s
        self._on_batch_end = on_batch_end
        self._lock = threading.Lock()
        self._turn_lock = threading.Lock()
        self._next_batch: _Batch[T, R] | None = None

    def process(self, item: T) -> R:
        """Process an item, in this thread or as part of another thread's batch, and return its outcome."""
        with self._lock:
            batch = self._next_batch
            is_leader = batch is None or len(batch.items) >= self._max_items
            if batch is None or is_leader:
                batch = self._next_batch = _Batch()
            index = len(batch.items)
            batch.items.append(item)
            if not is_leader:
                # One lock per thread: an Event shares one lock, which all waiters would acquire in turn when they wake.
                waiter_lock = threading.Lock()
                waiter_lock.acquire()
                batch.waiter_locks.append(waiter_lock)
        if is_leader:
            self._run_batch(batch)
        else:
            waiter_lock.acquire()
        outcome = batch.outcomes[index]
        if isinstance(outcome, Exception):
            # Raising an exception modifies it (traceback, context), so each caller raises its own copy.
            raise copy.copy(outcome) from outcome.__cause__
        return outcome

    def _run_batch(self, batch: _Batch[T, R]) -> None:
        has_turn = self._turn_lock.acquire(timeout=self._turn_timeout_s)
        try:
            with self._lock:
                if self._next_batch is batch:
                    self._next_batch = None
            try:
                batch.outcomes = self._work(batch.items)
            except Exception as error:  # noqa: BLE001  re-raised in every caller
                batch.outcomes = [error] * len(batch.items)
        finally:
            if has_turn:
                self._turn_lock.release()
            for lock in batch.waiter_locks:
                lock.release()
        self._on_batch_end(batch.items, batch.outcomes)

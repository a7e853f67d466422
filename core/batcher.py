"""Work that costs little more for many than for one, done for all who ask for it at the same time."""

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Batch(Generic[T, R]):
    """What some threads ask for, and once their locks are released what came of it."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.asleep: list[threading.Lock] = []
        self.outcomes: Sequence[R | Exception] = ()


class Batcher(Generic[T, R]):
    """Threads that ask while the work is under way wait, and one of them then does it for all of these.

    Nobody waits for company: who asks while nothing is under way begins at once. The work begins after all it is done
    for have asked.

    Args:
        work: does it for all items, and says for each, in their order, what came of it: an exception is raised where
            the item was asked for. What `work` itself raises is raised everywhere.
        most: items at once.
        after: what the thread that did it does with the items and outcomes once all others are told.
        turn_s: work that takes longer than this holds up nobody else: others begin beside it, so that what hangs does
            not make all wait in line.
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
        """Have the work done for an item, in this thread or by another one; what came of it."""
        with self._lock:
            batch = self._next
            leads = batch is None or len(batch.items) >= self._most
            if batch is None or leads:
                batch = self._next = _Batch()
            place = len(batch.items)
            batch.items.append(item)
            if not leads:
                # A lock, and no Event: that has one for all, which they would have to take by turns when they wake.
                mine = threading.Lock()
                mine.acquire()
                batch.asleep.append(mine)
        if leads:
            self._run(batch)
        else:
            mine.acquire()
        outcome = batch.outcomes[place]
        if isinstance(outcome, Exception):
            # Raising changes it, so each has one of its own.
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
            except Exception as error:  # noqa: BLE001  all who wait for it are told
                batch.outcomes = [error] * len(batch.items)
        finally:
            if has_turn:
                self._turn.release()
            for each in batch.asleep:
                each.release()
        self._after(batch.items, batch.outcomes)

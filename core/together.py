"""Looks of many threads as one: what they want to know at the same time is asked of Postgres at once."""

import copy
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# A look that takes longer holds up nobody else.
TURN_S = 0.05
# So that what is found can be sent within a statement's time.
LIMIT = 16


class _Batch(Generic[K, V]):
    """What some threads want to know, and once each one's lock is released what was found of it."""

    def __init__(self) -> None:
        self.keys: set[K] = set()
        self.waiting: list[threading.Lock] = []
        self.found: Mapping[K, V] = {}
        self.error: BaseException | None = None


class Together(Generic[K, V]):
    """Makes one look at a time; all who come meanwhile share the next one.

    A look begins after all its callers have asked, so what it finds is as new as what each would find alone. It saves
    most of what a look costs, which does not grow with what is asked: a connection, a statement, and that the
    processor turns from one process to the other and back.
    """

    def __init__(self, look: Callable[[Collection[K]], Mapping[K, V]], *, turn_s: float = TURN_S) -> None:
        """Looks by `look`, which says of some keys what there is, and leaves out what there is not.

        Args:
            turn_s: how long a look may take before the next one begins beside it.
        """
        self._look = look
        self._turn_s = turn_s
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: _Batch[K, V] | None = None

    @property
    def waiting(self) -> int:
        """How many threads wait for the next look to begin."""
        with self._lock:
            return 0 if self._next is None else 1 + len(self._next.waiting)

    def find(self, key: K) -> V | None:
        """What there is of `key`, or None; raises what `look` raises."""
        with self._lock:
            batch = self._next
            leads = batch is None or len(batch.keys) >= LIMIT
            if batch is None or leads:
                batch = self._next = _Batch()
            batch.keys.add(key)
            if not leads:
                # An Event has one lock for all, which they would have to take by turns when they wake.
                mine = threading.Lock()
                mine.acquire()
                batch.waiting.append(mine)
        if leads:
            self._run(batch)
        else:
            mine.acquire()
        if batch.error is not None:
            # One for each: raising changes it.
            raise copy.copy(batch.error) from batch.error.__cause__
        return batch.found.get(key)

    def _run(self, batch: _Batch[K, V]) -> None:
        had_turn = self._turn.acquire(timeout=self._turn_s)
        try:
            with self._lock:
                if self._next is batch:
                    self._next = None
            batch.found = self._look(batch.keys)
        except BaseException as error:  # noqa: BLE001  it is raised by each who asked
            batch.error = error
        finally:
            if had_turn:
                self._turn.release()
            for each in batch.waiting:
                each.release()

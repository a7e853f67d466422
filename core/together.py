"""Work that costs little more for many than for one, done for all who ask for it at the same time."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Asked(Generic[T, R]):
    """What one thread asks for; it sleeps until that is done, or until it is its turn to do it."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: R | BaseException | None = None
        self.done = False
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def sleep(self) -> None:
        self._asleep.acquire()

    def wake(self) -> None:
        self._asleep.release()


class Together(Generic[T, R]):
    """Threads that ask while the work is under way wait, and one of them then does it for all of these.

    Nobody waits for company: who asks while nothing is under way begins at once.

    Args:
        work: does it for all items, and says for each, in their order, what came of it: an exception is raised where
            the item was asked for. What `work` itself raises is raised everywhere.
        most: items at once.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Asked[T, R]] = []
        self._under_way = False

    def do(self, item: T) -> R:
        """Have the work done for an item, in this thread or by another one; what came of it."""
        mine: _Asked[T, R] = _Asked(item)
        with self._lock:
            self._waiting.append(mine)
            first, self._under_way = not self._under_way, True
        if not first:
            mine.sleep()
        if not mine.done:
            self._do_for_all()
        if isinstance(mine.outcome, BaseException):
            raise mine.outcome
        return mine.outcome  # type: ignore[return-value]

    def _do_for_all(self) -> None:
        with self._lock:
            those, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            outcomes: Sequence[R | BaseException] = self._work([one.item for one in those])
        except BaseException as error:  # noqa: BLE001  those who sleep must be told of it, too
            outcomes = [error] * len(those)
        with self._lock:
            self._under_way = bool(self._waiting)
            if self._waiting:
                self._waiting[0].wake()
        for one, outcome in zip(those, outcomes, strict=True):
            one.outcome, one.done = outcome, True
            one.wake()

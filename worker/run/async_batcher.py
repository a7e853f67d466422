"""What many coroutines ask for at the same time, done in one go."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

log = logging.getLogger(__name__)


class AsyncBatcher(Generic[A, R]):
    """Makes one blocking call at a time; what is asked for meanwhile goes together in the next.

    It is a short cut: whatever it did not do, for whatever reason, its caller does alone. So one that is bad, or has
    to wait, holds up no other.

    Args:
        call: does many, and gives what came of those that it did, by their keys. Of several with the same key only
            one is told.
        most: that are done in one go.
    """

    def __init__(
        self,
        call: Callable[[Sequence[A]], dict[Hashable, R]],
        *,
        key: Callable[[A], Hashable],
        executor: Executor,
        most: int,
    ) -> None:
        self._call = call
        self._key = key
        self._executor = executor
        self._most = most
        self._waiting: deque[tuple[A, asyncio.Future[R | None]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, one: A) -> R | None:
        """What came of it; None where it was not done, as far as is known."""
        future: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            done: dict[Hashable, R] = {}
            try:
                done = await asyncio.get_running_loop().run_in_executor(
                    self._executor, self._call, [a for a, _ in some]
                )
            except Exception as error:  # noqa: BLE001  # whoever does it alone will see it
                log.warning("not done together", extra={"responses": len(some), "cause": str(error)})
            for one, future in some:
                if not future.done():
                    future.set_result(done.pop(self._key(one), None))
        self._working = None

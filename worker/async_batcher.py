"""Runs concurrent calls from many coroutines as one batch."""

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
    """Makes one blocking call at a time; requests that arrive during a call form the next batch.

    Batching is only an optimization: if the batch does not process a request, for whatever reason, its caller makes
    the call alone. So a request that is invalid, or has to wait for a lock, does not delay the others.

    Args:
        call: processes a batch and returns the results of the requests that it processed, by key. If several requests
            have the same key, only one of them gets the result.
        key: returns the key of a request.
        executor: runs the calls.
        most: maximum number of requests in a batch.
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
        """Return the result of a request, or None if, as far as is known, it was not processed."""
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
            except Exception as error:  # noqa: BLE001  # a caller that then makes the call alone gets the error
                log.warning("batch failed", extra={"responses": len(some), "cause": str(error)})
            for one, future in some:
                if not future.done():
                    future.set_result(done.pop(self._key(one), None))
        self._working = None

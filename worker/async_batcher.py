"""Runs concurrent calls from many coroutines as one batch."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

log = logging.getLogger(__name__)


class AsyncBatcher(Generic[RequestT, ResultT]):
    """Combines concurrent requests into batches: requests that arrive during a call form the next batch.

    Batching is only an optimization: if a batch does not process a request, its caller repeats the call for that
    request alone. Therefore a request that is invalid or waits for a lock does not delay the other requests of a batch.

    Args:
        call: blocking function that processes a batch and returns a dictionary from the key of each processed request
            to its result. If several requests have the same key, only one of them gets the result.
        key: returns the key of a request.
        executor: runs the calls, one at a time.
        max_requests: maximum number of requests in a batch.
    """

    def __init__(
        self,
        call: Callable[[Sequence[RequestT]], dict[Hashable, ResultT]],
        *,
        key: Callable[[RequestT], Hashable],
        executor: Executor,
        max_requests: int,
    ) -> None:
        self._call = call
        self._key = key
        self._executor = executor
        self._max_requests = max_requests
        self._queue: deque[tuple[RequestT, asyncio.Future[ResultT | None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, request: RequestT) -> ResultT | None:
        """Add a request to the next batch; return its result, or None if the batch failed or did not process it."""
        future: asyncio.Future[ResultT | None] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        if self._task is None:
            self._task = asyncio.create_task(self._process_batches())
        return await future

    async def _process_batches(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._max_requests, len(self._queue)))]
            results: dict[Hashable, ResultT] = {}
            try:
                results = await asyncio.get_running_loop().run_in_executor(
                    self._executor, self._call, [request for request, _ in batch]
                )
            except Exception as error:  # noqa: BLE001  # each caller then repeats the call for its request alone, and gets the error
                log.warning("batch failed", extra={"responses": len(batch), "cause": str(error)})
            for request, future in batch:
                if not future.done():
                    future.set_result(results.pop(self._key(request), None))
        self._task = None

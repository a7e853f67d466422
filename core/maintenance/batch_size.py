"""A batch size that adapts to the time limits of Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager

from core import errors


class BatchSize:
    """The number of rows per statement of a chore: halved after each failure, and doubled after each success.

    With a fixed number, a batch of unusually large rows would exceed the time limits of Postgres in every round.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = self._size = maximum

    @contextmanager
    def try_size(self) -> Iterator[int]:
        """Yield the size of the next batch.

        Raises:
            errors.StoreUnavailable: raised by the block; the next batch is smaller.
        """
        try:
            yield self._size
        except errors.StoreUnavailable:
            self._size = max(1, self._size // 2)
            raise
        self._size = min(self._maximum, 2 * self._size)

"""The interface of the sweeper's chores."""

from typing import Protocol

# Maximum number of responses that a chore selects per statement to end or requeue them.
BATCH_SIZE = 50


class Chore(Protocol):
    """One task of a sweeper's round. It may run in any number of sweepers at the same time."""

    @property
    def name(self) -> str:
        """The name in logs."""

    def perform(self) -> None:
        """Do the work of one round.

        Raises:
            errors.StoreUnavailable: the next round does the remaining work.
        """

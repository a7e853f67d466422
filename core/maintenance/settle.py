"""Chore: correct the credits of projects according to the usage of ended responses."""

from core.quota.ledger import BATCH_SIZE, Ledger

# Maximum number of batches of ended responses per round.
MAX_BATCHES = 10


class Settle:
    """Settles the reservations of ended responses."""

    name = "settle"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def perform(self) -> None:
        """Settle until no unsettled response remains, at most `MAX_BATCHES` batches."""
        for _ in range(MAX_BATCHES):
            if self._ledger.settle() < BATCH_SIZE:
                break

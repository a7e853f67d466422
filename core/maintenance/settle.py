"""Chore: correct credits by the usage of ended responses."""

from core.quota.ledger import BATCH, Ledger

# Maximum batches of ended responses per round.
SETTLEMENTS = 10


class Settle:
    """Settles the reservations of ended responses."""

    name = "settle"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def perform(self) -> None:
        """Settle until nothing is left, at most `SETTLEMENTS` batches."""
        for _ in range(SETTLEMENTS):
            if self._ledger.settle() < BATCH:
                break

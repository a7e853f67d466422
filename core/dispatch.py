"""Dispatch: ring, of all that waits, only what may run now."""

import logging
from collections.abc import Sequence

from core import tiers
from core.catalog import Catalog
from core.db import Database
from core.doorbell import Doorbell
from core.store import lanes
from core.store.room import Rules

log = logging.getLogger(__name__)

# Rings after one commit; the next dispatch takes what is left.
BATCH = 200


class Dispatch:
    """Rings for waiting responses, within workers' slots, models' and projects' limits and tiers' weights."""

    def __init__(self, database: Database, doorbell: Doorbell, catalog: Catalog, *, worker_seen_s: float) -> None:
        self._database = database
        self._doorbell = doorbell
        limits = {
            (project, model): limit.running
            for project, table in catalog.limits.tables.items()
            for model, limit in table.items()
        }
        self.rules = Rules(
            weights={tier.value: float(weight) for tier, weight in tiers.WEIGHTS.items()},
            caps={name: model.concurrency for name, model in catalog.models.items() if model.concurrency is not None},
            # Tables without this limit count where there is any: they lift what a wider one says.
            running=limits if any(limits.values()) else {},
            reserve=tiers.RESERVE,
            worker_seen_s=worker_seen_s,
            batch=BATCH,
        )

    def dispatch(self, ran: Sequence[str] = ()) -> int:
        """Ring for what may run now, in all lanes; how many.

        Nothing is done while the broker is away.

        Args:
            ran: IDs of the responses that just made room.

        Raises:
            errors.StoreUnavailable: responses may have been stamped as rung; they go back to waiting by themselves.
        """
        if not self._doorbell.rings:
            return 0
        with self._database.connection() as connection:
            if not lanes.waits(connection):
                return 0
            with connection.transaction():
                lanes.lock(connection)
                rung = lanes.dispatch(connection, self.rules, ran)
        return sum(self.ring(response_ids, lane) for lane, response_ids in rung.items())

    def ring(self, response_ids: list[str], lane: str) -> int:
        """Ring for responses that are stamped as rung; those that cannot be rung go back to waiting."""
        silent = self._doorbell.ring(response_ids, lane)
        if silent:
            with self._database.connection() as connection:
                lanes.unring(connection, silent)
        return len(response_ids) - len(silent)

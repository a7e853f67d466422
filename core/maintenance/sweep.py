"""A sweeper's round, which runs every chore once. Any number of sweepers may run concurrently."""

import logging
from collections.abc import Sequence

from core import errors
from core.database import Database
from core.dispatch.dispatcher import Dispatch
from core.maintenance.blobs import DeleteContents
from core.maintenance.chore import Chore
from core.maintenance.dispatch_waiting import DispatchWaiting
from core.maintenance.expire import Expire
from core.maintenance.orphans import CancelOrphans
from core.maintenance.prune import Prune, PruneEvents
from core.maintenance.recall import Recall
from core.maintenance.settle import Settle
from core.quota.ledger import Ledger
from core.runs.ends import Endings
from core.settings import Settings

log = logging.getLogger(__name__)


class Sweep:
    """Recovers responses that other parts lost, and deletes data that is no longer needed."""

    def __init__(
        self, database: Database, dispatch: Dispatch, endings: Endings, ledger: Ledger, settings: Settings
    ) -> None:
        # Chores that affect waiting clients come first.
        self._chores: Sequence[Chore] = (
            Expire(database, endings, settings),
            Recall(database, settings),
            CancelOrphans(database, endings),
            DispatchWaiting(database, dispatch, settings),
            Settle(ledger),
            Prune(database),
            PruneEvents(database, settings),
            DeleteContents(database),
        )

    def run(self) -> None:
        """Run every chore once. If Postgres is busy, a chore is postponed to the next round; the others still run.

        Raises:
            errors.StoreUnavailable: the round stopped; the next round does the remaining work.
        """
        for chore in self._chores:
            try:
                chore.perform()
            except errors.StoreBusy as error:
                log.warning("sweep step postponed", extra={"step": chore.name, "cause": str(error)})

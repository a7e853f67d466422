"""A sweeper's round, which runs every chore once. Any number of sweepers may run concurrently."""

import logging
import time
from collections.abc import Sequence

from core import errors
from core.database import Database
from core.dispatch.dispatcher import Dispatch
from core.maintenance.chore import Chore
from core.maintenance.contents import DeleteContents
from core.maintenance.dispatch_waiting import DispatchWaiting
from core.maintenance.expire import Expire
from core.maintenance.orphans import CancelOrphans
from core.maintenance.prune import Prune
from core.maintenance.prune_events import PruneEvents
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
        self._database = database
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
        self._succeeded_at: dict[str, float] = {}
        self._reset_ages()

    def run(self) -> None:
        """Run every chore once. A chore that fails is tried again in the next round; the others still run.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable; the next round does the remaining work.
        """
        for chore in self._chores:
            try:
                chore.perform()
            except errors.StoreUnavailable as error:
                if not isinstance(error, errors.StoreBusy) and not self._database.is_available():
                    self._reset_ages()  # chores do not become stale while Postgres is unavailable
                    raise
                log.warning("sweep step postponed", extra={"step": chore.name, "cause": str(error)})
            except Exception:
                log.exception("sweep step failed", extra={"step": chore.name})
            else:
                self._succeeded_at[chore.name] = time.monotonic()

    def stale_chores(self, max_age_s: float) -> dict[str, float]:
        """Return the seconds since the last success of each chore that has not succeeded for `max_age_s` seconds."""
        now = time.monotonic()
        ages = {name: now - succeeded_at for name, succeeded_at in self._succeeded_at.items()}
        return {name: age_s for name, age_s in ages.items() if age_s > max_age_s}

    def _reset_ages(self) -> None:
        self._succeeded_at = {chore.name: time.monotonic() for chore in self._chores}

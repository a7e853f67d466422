"""Chore: dispatch waiting responses, and report lanes that no worker serves."""

import logging

from core.database import Database
from core.dispatch import lanes_sql
from core.dispatch.dispatcher import Dispatch
from core.settings import Settings

log = logging.getLogger(__name__)

# Maximum dispatches per round. Responses that expire meanwhile wait for the next round.
DISPATCHES = 5


class DispatchWaiting:
    """Dispatches what workers have not dispatched themselves."""

    name = "dispatch"

    def __init__(self, database: Database, dispatch: Dispatch, settings: Settings) -> None:
        self._database = database
        self._dispatch = dispatch
        self._settings = settings
        self._unserved: frozenset[str] = frozenset()

    def perform(self) -> None:
        """Dispatch until nothing more may run, at most `DISPATCHES` times."""
        for _ in range(DISPATCHES):
            if not self._dispatch.dispatch():
                break
        with self._database.connection() as connection:
            unserved = frozenset(lanes_sql.unserved(connection, self._settings.worker_seen_s))
        for lane in sorted(unserved - self._unserved):
            log.warning("no worker serves lane", extra={"lane": lane})
        self._unserved = unserved

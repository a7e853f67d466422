"""Chore: dispatch waiting responses, and report lanes that no worker serves."""

import logging

from core.database import Database
from core.dispatch import lanes_sql
from core.dispatch.dispatcher import Dispatch
from core.settings import Settings

log = logging.getLogger(__name__)

# Maximum number of dispatches per round; more would delay the other chores, such as the expiry of leases.
MAX_DISPATCHES = 5


class DispatchWaiting:
    """Dispatches the waiting responses that workers have not dispatched themselves."""

    name = "dispatch"

    def __init__(self, database: Database, dispatch: Dispatch, settings: Settings) -> None:
        self._database = database
        self._dispatch = dispatch
        self._settings = settings
        self._reported_lanes: frozenset[str] = frozenset()

    def perform(self) -> None:
        """Dispatch until no more responses may run, at most `MAX_DISPATCHES` times."""
        for _ in range(MAX_DISPATCHES):
            if not self._dispatch.dispatch():
                break
        with self._database.connection() as connection:
            unserved_lanes = frozenset(lanes_sql.unserved(connection, self._settings.worker_seen_s))
        for lane in sorted(unserved_lanes - self._reported_lanes):
            log.warning("no worker serves lane", extra={"lane": lane})
        self._reported_lanes = unserved_lanes

"""Chore: dispatch waiting responses, and report lanes and models that no worker serves."""

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
        self._reported_models: frozenset[tuple[str, str]] = frozenset()

    def perform(self) -> None:
        """Dispatch until no more responses may run, at most `MAX_DISPATCHES` times."""
        for _ in range(MAX_DISPATCHES):
            if not self._dispatch.dispatch():
                break
        worker_seen_s = self._settings.worker_seen_s
        with self._database.connection() as connection:
            unserved_lanes = frozenset(lanes_sql.list_unserved_lanes(connection, worker_seen_s))
            unknown_models = frozenset(lanes_sql.list_unknown_models(connection, worker_seen_s))
        for lane in sorted(unserved_lanes - self._reported_lanes):
            log.warning("no worker serves lane", extra={"lane": lane})
        for lane, model in sorted(unknown_models - self._reported_models):
            log.warning("no worker of the lane knows the model", extra={"lane": lane, "model": model})
        self._reported_lanes, self._reported_models = unserved_lanes, unknown_models

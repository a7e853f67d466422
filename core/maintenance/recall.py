"""Chore: recall responses whose Celery message no worker has claimed."""

import logging

from core.database import Database
from core.dispatch import lanes_sql
from core.settings import Settings

log = logging.getLogger(__name__)


class Recall:
    """Makes dispatched responses wait again if their message was lost, or its worker is stuck."""

    name = "recall"

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def perform(self) -> None:
        """Recall all that were not claimed in time."""
        with self._database.connection() as connection:
            unclaimed = lanes_sql.recall_unclaimed(connection, self._settings.claim_within_s)
        if unclaimed:
            log.warning("dispatched but not claimed", extra={"responses": unclaimed})

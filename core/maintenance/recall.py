"""Chore: recall dispatched responses that no worker has claimed."""

import logging

from core.database import Database
from core.dispatch import lanes_sql
from core.settings import Settings

log = logging.getLogger(__name__)


class Recall:
    """Recalls dispatched responses whose Celery message was lost, or was received by a worker that then stopped."""

    name = "recall"

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def perform(self) -> None:
        """Recall all responses that were not claimed within `claim_within_s`."""
        with self._database.connection() as connection:
            recalled_count = lanes_sql.recall_unclaimed(connection, self._settings.claim_within_s)
        if recalled_count:
            log.warning("dispatched but not claimed", extra={"responses": recalled_count})

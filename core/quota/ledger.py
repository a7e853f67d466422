"""The usage ledger: credits corrected by what responses really used, and what operators ask of it."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from core.config.catalog import Catalog
from core.database import Database
from core.quota import ledger_sql as store
from core.quota.token_bucket import Credits

# Rows of one round trip to Redis.
BATCH = 500
BY = store.BY


class Ledger:
    """Settles what was reserved, and sums up what was used."""

    def __init__(self, database: Database, credits: Credits, catalog: Catalog) -> None:
        self._database = database
        self._credits = credits
        self._catalog = catalog

    def settle(self) -> int:
        """Correct credits by what ended since; how many responses. Safe to repeat, and for several at once.

        Nothing is done while Redis is away. Where a process dies between the correction and its mark here, the next
        one finds in Redis that it was made.

        Raises:
            errors.StoreUnavailable: what was marked is unknown; the next round does it again.
        """
        with self._database.connection() as connection:
            found = store.unsettled(connection, BATCH)
        if not found:
            return 0
        if not self._credits.settle([(one, self._catalog.limits.limits_for(one.project, one.model)) for one in found]):
            return 0
        with self._database.connection() as connection:
            store.mark_settled(connection, found)
        return len(found)

    def usage(
        self, by: Sequence[str], *, project: str | None = None, since: date | None = None, until: date | None = None
    ) -> list[dict[str, Any]]:
        """What was used by responses that ended, summed up by the names of `by`, of `BY`.

        Args:
            project: only of the project of this name.
            since: the first day, of UTC.
            until: the last one.
        """
        with self._database.connection() as connection:
            return store.usage(connection, by, project=project, since=since, until=until)

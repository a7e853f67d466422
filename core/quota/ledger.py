"""The usage ledger: corrects credits by the actual usage of responses, and reports usage to operators."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from core.config.catalog import Catalog
from core.database import Database
from core.quota import ledger_sql as store
from core.quota.token_bucket import Credits

# Rows per round trip to Redis.
BATCH = 500
BY = store.BY


class Ledger:
    """Settles reserved credits and aggregates usage."""

    def __init__(self, database: Database, credits: Credits, catalog: Catalog) -> None:
        self._database = database
        self._credits = credits
        self._catalog = catalog

    def settle(self) -> int:
        """Correct the credits of responses that have ended but are not settled; return their number.

        Idempotent, and safe to run in several processes. Nothing is done while Redis is unavailable. If a process dies
        between the correction in Redis and its mark in Postgres, the next one finds in Redis that it was applied.

        Raises:
            errors.StoreUnavailable: it is unknown what was marked; the next round repeats it.
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
        """Return the usage of responses that have ended, grouped by the columns `by`.

        Args:
            by: names from `BY`.
            project: only usage of the project with this name.
            since: the first day (UTC).
            until: the last day (UTC), inclusive.
        """
        with self._database.connection() as connection:
            return store.usage(connection, by, project=project, since=since, until=until)

"""The usage ledger: settles reserved credits with the actual usage, and reports usage to operators."""

from collections.abc import Sequence
from datetime import date

from core.config.live_catalog import LiveCatalog
from core.database import Database
from core.jsonio import JsonObject
from core.quota import ledger_sql
from core.quota.token_bucket import Credits

# Maximum number of rows per round trip to Redis.
BATCH_SIZE = 500
GROUP_COLUMNS = ledger_sql.GROUP_COLUMNS


class Ledger:
    """Settles reserved credits and aggregates usage."""

    def __init__(self, database: Database, credits: Credits, live_catalog: LiveCatalog) -> None:
        self._database = database
        self._credits = credits
        self._live_catalog = live_catalog

    def settle(self) -> int:
        """Correct the credits of ended responses that are not settled; return the number of settled responses.

        Idempotent, and safe to run in several processes. Does nothing while Redis is unavailable. If a process dies
        between the correction in Redis and the record of it in Postgres, the next process finds in Redis that the
        correction was applied.

        Raises:
            errors.StoreUnavailable: it is unknown which settlements were recorded; the next call repeats the rest.
        """
        with self._database.connection() as connection:
            settlements = ledger_sql.list_unsettled(connection, BATCH_SIZE)
        if not settlements:
            return 0
        project_limits = self._live_catalog.current.limits
        limits = [project_limits.limits_for(settlement.project, settlement.model) for settlement in settlements]
        if not self._credits.settle(list(zip(settlements, limits, strict=True))):
            return 0
        with self._database.connection() as connection:
            ledger_sql.mark_settled(connection, settlements)
        return len(settlements)

    def usage(
        self,
        columns: Sequence[str],
        *,
        project: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[JsonObject]:
        """Return the usage of ended responses, grouped by `columns`.

        Args:
            columns: names from `GROUP_COLUMNS`.
            project: only usage of the project with this name.
            since: the first day (UTC).
            until: the last day (UTC), inclusive.
        """
        with self._database.connection() as connection:
            return ledger_sql.usage(connection, columns, project=project, since=since, until=until)

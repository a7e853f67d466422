"""Registration of workers in Postgres."""

from collections.abc import Mapping, Sequence

from core.config import tiers
from core.database import Database
from core.runs import workers_sql


class Workers:
    """The registry of live workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self,
        worker_id: str,
        *,
        hostname: str,
        pid: int,
        slots: int,
        lanes: Sequence[str] = (tiers.LANE,),
        models: Mapping[str, int | None] | None = None,
    ) -> None:
        """Register a worker or update its registration; the caller must repeat this well within `worker_seen_s`.

        Args:
            slots: the number of responses that the worker runs at once; 0 if it is draining.
            models: the models that the worker knows, each with its limit of running responses or None. Only responses
                of these models are dispatched to its slots. None instead of a mapping: the worker knows every model.
        """
        with self._database.connection() as connection:
            workers_sql.register(
                connection, worker_id, hostname=hostname, pid=pid, lanes=lanes, slots=slots, models=models
            )

    def unregister(self, worker_id: str) -> None:
        """Delete the registration of a worker that exits."""
        with self._database.connection() as connection:
            workers_sql.delete(connection, worker_id)

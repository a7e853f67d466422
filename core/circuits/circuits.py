"""Circuit breakers of models: open while all servers of a model are down, then probed by one response at a time."""

import logging
import random

from core.circuits import circuits_sql
from core.circuits.circuits_sql import Circuit
from core.database import Connection, Database

log = logging.getLogger(__name__)

__all__ = ["Circuit", "Circuits"]

_FIRST_S = 1.0


class Circuits:
    """The circuits of all models, stored in Postgres and shared by all workers.

    A circuit is closed (no row), open until `open_until`, and then half-open: dispatch enqueues a single response, the
    probe. The first output of the probe closes the circuit; its failure reopens the circuit for twice as long. If the
    probe ends without either, or is lost with its worker, dispatch chooses another one: a probe counts only while its
    row says that it is dispatched or running.
    """

    def __init__(self, database: Database, *, longest_s: float, turn_s: float) -> None:
        """Store circuits in `database`.

        Args:
            longest_s: maximum seconds for which a circuit is open, unless a model server asks for more.
            turn_s: seconds after the circuit's `open_until` during which a failed probe lets other responses probe.
        """
        self._database = database
        self._longest_s = longest_s
        self._turn_s = turn_s

    def open(
        self,
        connection: Connection,
        model: str,
        response_id: str,
        *,
        cause: str,
        error_code: str | None,
        asked_s: float,
    ) -> Circuit | None:
        """Open a circuit in the caller's transaction.

        Args:
            response_id: the response that found the servers unavailable.
            asked_s: seconds that the model server asked to wait; the circuit is open for at least that long.

        Returns:
            The circuit; None if it was already open and the response is not its probe, so that nothing was written.
        """
        opened = circuits_sql.open(
            connection,
            model,
            response_id,
            cause=cause,
            error_code=error_code,
            first_s=_FIRST_S,
            longest_s=self._longest_s,
            asked_s=asked_s,
            jitter=random.uniform(0.5, 1),  # noqa: S311
        )
        if opened is not None:
            log.warning(
                "circuit opened",
                extra={
                    "model": model,
                    "response": response_id,
                    "failures": opened.failures,
                    "open_s": round(opened.left_s, 1),
                    "cause": cause,
                },
            )
        return opened

    def turn_s(self, opened: Circuit | None, *, is_probe: bool) -> float:
        """Return the seconds for which a response that waits for a circuit must not be its probe."""
        return opened.left_s + self._turn_s if opened is not None and is_probe else 0.0

    def probe_failed(self, model: str, response_id: str, cause: str, error_code: str | None) -> None:
        """Reopen a circuit whose probe reached a server but failed."""
        with self._database.transaction() as connection:
            self.open(connection, model, response_id, cause=cause, error_code=error_code, asked_s=0)

    def close(self, model: str) -> bool:
        """Close the circuit of a model whose servers answer; return whether it was open."""
        with self._database.connection() as connection:
            closed = circuits_sql.close(connection, model)
        if closed:
            log.info("circuit closed", extra={"model": model})
        return closed

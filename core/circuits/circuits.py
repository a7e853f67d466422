"""Circuit breakers of models: open while all servers of a model are unavailable, then probed with single responses."""

import logging
import random

from core.circuits import circuits_sql
from core.circuits.circuits_sql import Circuit
from core.database import Connection, Database

log = logging.getLogger(__name__)

__all__ = ["Circuit", "Circuits"]

_FIRST_OPEN_S = 1.0


class Circuits:
    """The circuits of all models, stored in Postgres and shared by all workers.

    A circuit is closed (no row), open until `open_until`, and then half-open: dispatch enqueues a single response, the
    probe. The circuit closes if a server sends output for the probe, or rejects the probe's request with an ordinary
    error; any other failure of the servers reopens the circuit for twice as long. If the probe ends in another way, or
    is lost with its worker, dispatch chooses another response: a response is the probe only while it is dispatched or
    running.
    """

    def __init__(self, database: Database, *, max_open_s: float, failed_probe_delay_s: float) -> None:
        """Use the circuits that are stored in `database`.

        Args:
            max_open_s: maximum seconds for which a circuit is open, unless a model server requests more.
            failed_probe_delay_s: seconds after `open_until` during which the response that failed as a probe is not
                dispatched, so that another response becomes the next probe.
        """
        self._database = database
        self._max_open_s = max_open_s
        self._failed_probe_delay_s = failed_probe_delay_s

    def open(
        self,
        connection: Connection,
        model: str,
        response_id: str,
        *,
        cause: str,
        error_code: str | None,
        requested_delay_s: float,
    ) -> Circuit | None:
        """Open a circuit in the caller's transaction.

        Args:
            response_id: the response that found the servers unavailable.
            requested_delay_s: minimum seconds for which the circuit is open, as requested by the model server.

        Returns:
            The circuit; None if nothing was written, because the circuit was open and the response is not its probe.
        """
        circuit = circuits_sql.open(
            connection,
            model,
            response_id,
            cause=cause,
            error_code=error_code,
            first_open_s=_FIRST_OPEN_S,
            max_open_s=self._max_open_s,
            requested_delay_s=requested_delay_s,
            jitter=random.uniform(0.5, 1),  # noqa: S311
        )
        if circuit is not None:
            fields = {"failures": circuit.failures, "open_s": round(circuit.remaining_s, 1), "cause": cause}
            log.warning("circuit opened", extra={"model": model, "response": response_id, **fields})
        return circuit

    def retry_delay_s(self, circuit: Circuit | None, *, was_probe: bool) -> float:
        """Return the seconds during which a response must not become the probe again; 0 if it was not the probe."""
        return circuit.remaining_s + self._failed_probe_delay_s if circuit is not None and was_probe else 0.0

    def reopen(self, model: str, response_id: str, cause: str, error_code: str | None) -> None:
        """Reopen a circuit after its probe reached a server but failed."""
        with self._database.transaction() as connection:
            self.open(connection, model, response_id, cause=cause, error_code=error_code, requested_delay_s=0)

    def close(self, model: str) -> bool:
        """Close the circuit of a model after a server has answered; return whether it was open."""
        with self._database.connection() as connection:
            was_open = circuits_sql.close(connection, model)
        if was_open:
            log.info("circuit closed", extra={"model": model})
        return was_open

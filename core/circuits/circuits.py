"""Circuits: a model whose servers are away is rung for no more, but for one response at a time that tries them."""

import logging
import random

from core.circuits import circuits_sql
from core.circuits.circuits_sql import Circuit
from core.database import Connection, Database

log = logging.getLogger(__name__)

__all__ = ["Circuit", "Circuits"]

_FIRST_S = 1.0


class Circuits:
    """The circuits of all models, in Postgres for all workers together.

    A circuit is closed (no row), open until its time comes, and then half-open: dispatch rings for one response, the
    probe. Its first output closes the circuit, its failure opens it again for twice as long. A probe that ends
    without either, or is lost with its worker, makes room for the next one: it counts only while its row says that
    it runs.
    """

    def __init__(self, database: Database, *, longest_s: float, turn_s: float) -> None:
        """Keep circuits in `database`.

        Args:
            longest_s: how long a circuit is open at most, but for what a model server asks for.
            turn_s: how long a probe that failed lets others try first.
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
        """Open a circuit in the caller's transaction; None where it is open already, and it is not the probe who asks.

        Args:
            asked_s: for how long the model server asked to be left alone.
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
        """For how long a response that waits behind a circuit must not be its probe."""
        return opened.left_s + self._turn_s if opened is not None and is_probe else 0.0

    def probe_failed(self, model: str, response_id: str, cause: str, error_code: str | None) -> None:
        """Open a circuit again whose probe found the servers answering, but not well."""
        with self._database.transaction() as connection:
            self.open(connection, model, response_id, cause=cause, error_code=error_code, asked_s=0)

    def close(self, model: str) -> bool:
        """Close a model's circuit, since its servers answer; whether it was open."""
        with self._database.connection() as connection:
            closed = circuits_sql.close(connection, model)
        if closed:
            log.info("circuit closed", extra={"model": model})
        return closed

"""SQL of circuits: one row per model with an open circuit. Dispatch reads the rows in core/dispatch/dispatch_sql.py.

Hand-written, because workers run it concurrently with dispatch while a model's servers fail.
"""

from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection
from core.tables.conditions import has_status
from core.wire.status import Status


@dataclass(frozen=True)
class Circuit:
    """An open circuit, which stops dispatch for its model, or a half-open one, which allows one response at a time.

    Args:
        failures: the number of times that the circuit has been opened since it was last closed.
        remaining_s: seconds until a probe may be dispatched; negative after that time.
        cause: the last error of the model server.
    """

    model: str
    failures: int
    remaining_s: float
    cause: str


# If several responses find the servers unavailable, the first of them opens the circuit; after that, only the circuit's
# probe may reopen it.
_OPEN = """
insert into circuits as c (model, open_until, cause, error_code)
values (%(model)s,
        now() + greatest(%(requested_delay_s)s, least(%(max_open_s)s, %(first_open_s)s) * %(jitter)s) * interval '1 s',
        %(cause)s, %(error_code)s)
on conflict (model) do update
set failures = c.failures + 1, probe = null, cause = excluded.cause, error_code = excluded.error_code,
    open_until = now() + greatest(%(requested_delay_s)s, least(%(max_open_s)s,
        %(first_open_s)s * power(2, least(c.failures, 16))) * %(jitter)s) * interval '1 s'
where c.probe = %(response_id)s
returning model, failures, extract(epoch from open_until - now())::double precision as remaining_s, cause
"""


def open(  # noqa: A001  # the standard term for a circuit
    connection: Connection,
    model: str,
    response_id: str,
    *,
    cause: str,
    error_code: str | None,
    first_open_s: float,
    max_open_s: float,
    requested_delay_s: float,
    jitter: float,
) -> Circuit | None:
    """Open the circuit of a model after a response has found the model's servers unavailable.

    Args:
        response_id: if this response is the circuit's probe, the circuit is reopened for twice as long.
        first_open_s: seconds for which a circuit is opened the first time.
        max_open_s: maximum seconds for which a circuit is opened; `requested_delay_s` may exceed it.
        requested_delay_s: minimum seconds for which a circuit is opened, as requested by the model server.
        jitter: factor, greater than 0 and at most 1, by which the computed time is multiplied.

    Returns:
        The circuit; None if the circuit was already open and the response is not its probe, so nothing was written.
    """
    with connection.cursor(row_factory=class_row(Circuit)) as cursor:
        cursor.execute(
            _OPEN,
            {
                "model": model,
                "response_id": response_id,
                "cause": cause.replace("\0", ""),  # a cause may quote a model server, and Postgres rejects NUL in text
                "error_code": error_code,
                "first_open_s": first_open_s,
                "max_open_s": max_open_s,
                "requested_delay_s": requested_delay_s,
                "jitter": jitter,
            },
        )
        return cursor.fetchone()


def close(connection: Connection, model: str) -> bool:
    """Close the circuit of a model; return whether it was open."""
    return connection.execute("delete from circuits where model = %s", (model,)).rowcount > 0


def delete_old(connection: Connection, retention_s: float) -> None:
    """Delete the circuits whose `open_until` passed more than `retention_s` seconds ago and that have no running probe.

    If no probe was dispatched for so long, no response waits for the model, or the model is no longer configured.
    """
    connection.execute(
        "delete from circuits c where open_until < now() - %s * interval '1 s' and not exists"
        f" (select from responses r where r.id = c.probe and {has_status(Status.IN_PROGRESS, row='r')})",
        (retention_s,),
    )

"""Rows of circuits: models whose servers were found away. Dispatch reads them in core/dispatch/dispatch_sql.py."""

from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Circuit:
    """A model for which nothing is dispatched, or one response at a time.

    Args:
        failures: how often it was opened in a row.
        left_s: until one response may try its servers; negative from then on.
        cause: the model server's last error.
    """

    model: str
    failures: int
    left_s: float
    cause: str


# Of those who find the servers away at once, the first opens the circuit; from then on only its probe may.
_OPEN = """
insert into circuits as c (model, open_until, cause, error_code)
values (%(model)s, now() + greatest(%(asked_s)s, least(%(longest_s)s, %(first_s)s) * %(jitter)s) * interval '1 s',
        %(cause)s, %(error_code)s)
on conflict (model) do update
set failures = c.failures + 1, probe = null, cause = excluded.cause, error_code = excluded.error_code,
    open_until = now() + greatest(%(asked_s)s, least(%(longest_s)s,
        %(first_s)s * power(2, least(c.failures, 16))) * %(jitter)s) * interval '1 s'
where c.probe = %(response_id)s
returning model, failures, extract(epoch from open_until - now())::double precision as left_s, cause
"""


def open(  # noqa: A001  # as one says of a circuit
    connection: Connection,
    model: str,
    response_id: str,
    *,
    cause: str,
    error_code: str | None,
    first_s: float,
    longest_s: float,
    asked_s: float,
    jitter: float,
) -> Circuit | None:
    """Open a model's circuit for a response that found its servers away; None where it is open already.

    Args:
        response_id: if it is the circuit's probe, the circuit is opened again, for twice as long.
        first_s: how long for the first time.
        longest_s: how long at most, but for what the servers asked for.
        asked_s: how long at least.
        jitter: by what part of itself, at most 1, the time is taken.
    """
    with connection.cursor(row_factory=class_row(Circuit)) as cursor:
        cursor.execute(
            _OPEN,
            {
                "model": model,
                "response_id": response_id,
                "cause": cause.replace("\0", ""),  # it may quote a model server, and Postgres takes no NUL
                "error_code": error_code,
                "first_s": first_s,
                "longest_s": longest_s,
                "asked_s": asked_s,
                "jitter": jitter,
            },
        )
        return cursor.fetchone()


def close(connection: Connection, model: str) -> bool:
    """Close a model's circuit; whether there was one."""
    return connection.execute("delete from circuits where model = %s", (model,)).rowcount > 0


def delete_old(connection: Connection, after_s: float) -> None:
    """Delete circuits that could have been tried for so long and were not: nothing waits, or the model is gone."""
    connection.execute(
        "delete from circuits c where open_until < now() - %s * interval '1 s' and not exists"
        " (select from responses r where r.id = c.probe and r.status = 'in_progress')",
        (after_s,),
    )


def all_open(connection: Connection) -> list[Circuit]:
    """Every circuit that is not closed."""
    with connection.cursor(row_factory=class_row(Circuit)) as cursor:
        cursor.execute(
            "select model, failures, extract(epoch from open_until - now())::double precision as left_s, cause"
            " from circuits order by model"
        )
        return cursor.fetchall()

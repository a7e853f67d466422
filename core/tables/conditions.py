"""SQL conditions on the status of a response, generated from the statuses and their transitions, and on workers.

A status is a literal in SQL, never a parameter: Postgres uses a partial index only if it can prove the condition of the
index when it plans the statement.
"""

import sqlalchemy as sa

from core.wire.status import Status, may_move


def literal(status: Status) -> str:
    """Return a status as an SQL literal."""
    return f"'{status}'"


def status_literal(status: Status) -> sa.ColumnElement[str]:
    """Return a status as a literal in a SQLAlchemy expression."""
    return sa.literal_column(literal(status), sa.Text)


def has_status(*statuses: Status, row: str = "") -> str:
    """Return the condition that a response has one of these statuses.

    Args:
        row: the table name or alias; may be omitted if only one table of the statement has a column `status`.
    """
    literals = [literal(status) for status in statuses]
    return f"{_prefix(row)}status " + (f"= {literals[0]}" if len(literals) == 1 else f"in ({', '.join(literals)})")


def may_become(status: Status, row: str = "") -> str:
    """Return the condition that a response may move to this status."""
    return has_status(*(source for source in Status if may_move(source, status)), row=row)


def is_waiting(row: str = "") -> str:
    """Return the condition that a response waits in Postgres for dispatch."""
    return f"{has_status(Status.QUEUED, row=row)} and {_prefix(row)}dispatched_at is null"


def is_dispatched(row: str = "") -> str:
    """Return the condition that a response was dispatched and is not claimed yet."""
    return f"{has_status(Status.QUEUED, row=row)} and {_prefix(row)}dispatched_at is not null"


def is_busy(row: str = "") -> str:
    """Return the condition that a response occupies a slot, or is about to."""
    return f"({has_status(Status.IN_PROGRESS, row=row)} or ({is_dispatched(row)}))"


def is_live(row: str = "") -> str:
    """Return the condition that a worker was seen in the last `worker_seen_s` seconds, a parameter of the statement."""
    return f"{_prefix(row)}seen_at > now() - %(worker_seen_s)s * interval '1 s'"


def deadline(row: str = "") -> str:
    """Return the expression for the time at which a response must end: the limit of its wait, or of its run."""
    prefix = _prefix(row)
    queued = literal(Status.QUEUED)
    return f"case {prefix}status when {queued} then {prefix}queued_until else {prefix}run_until end"


def _prefix(row: str) -> str:
    return f"{row}." if row else ""

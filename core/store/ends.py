"""The rows an end writes: the response's last write, its attempt's, under one lock."""

from dataclasses import dataclass

from psycopg.rows import class_row

from core.db import Connection


@dataclass(frozen=True)
class Locked:
    """A response under lock, as the one who wants to end it finds it."""

    id: str
    project_id: str
    status: str
    background: bool
    stored: bool
    attempt: int
    worker_id: str | None
    document: str
    lease_lost: bool
    overdue: bool
    left: bool  # nobody waits for it any more, though it was asked for only while somebody does
    now: int  # Unix seconds of the database's clock


_LOCK = """
select id, project_id, status, background, stored, attempt, worker_id, document,
    coalesce(lease_until < clock_timestamp(), false) as lease_lost,
    coalesce(case status when 'queued' then queued_until else run_until end < clock_timestamp(), false) as overdue,
    coalesce(followed_until < clock_timestamp(), false) as left,
    extract(epoch from clock_timestamp())::bigint as now
from responses where id = %s for no key update
"""


def lock(connection: Connection, response_id: str) -> Locked | None:
    """The response, locked until the transaction ends; None if there is none."""
    with connection.cursor(row_factory=class_row(Locked)) as cursor:
        cursor.execute(_LOCK, (response_id,))
        return cursor.fetchone()


_FINISH = """
with ended as (
    update responses
    set status = %(status)s, document = %(document)s, finished_at = now(),
        worker_id = null, lease_until = null, run_until = null, rung_at = null
    where id = %(id)s
    returning id, attempt
)
update attempts a
set ended_at = now(), outcome = %(status)s, cause = %(cause)s, input_tokens = %(input_tokens)s,
    output_tokens = %(output_tokens)s, usage_estimated = %(usage_estimated)s
from ended where a.response_id = ended.id and a.attempt = ended.attempt and a.ended_at is null
"""


@dataclass(frozen=True)
class Spent:
    """Tokens an attempt used, as the model server said or as we counted."""

    input_tokens: int
    output_tokens: int
    estimated: bool


def finish(
    connection: Connection,
    response_id: str,
    *,
    status: str,
    document: str,
    cause: str | None,
    spent: Spent | None,
) -> None:
    """Write the end of a locked response, and of its attempt if one is under way."""
    connection.execute(
        _FINISH,
        {
            "id": response_id,
            "status": status,
            "document": document,
            "cause": cause and cause.replace("\0", ""),  # it may quote a model server, and Postgres takes no NUL
            "input_tokens": spent and spent.input_tokens,
            "output_tokens": spent and spent.output_tokens,
            "usage_estimated": spent and spent.estimated,
        },
    )


def note_usage(connection: Connection, response_id: str, attempt: int, spent: Spent) -> None:
    """Add to an attempt that somebody else ended what its worker knows of its usage."""
    connection.execute(
        "update attempts set input_tokens = %s, output_tokens = %s, usage_estimated = %s"
        " where response_id = %s and attempt = %s and output_tokens is null",
        (spent.input_tokens, spent.output_tokens, spent.estimated, response_id, attempt),
    )

"""SQL of the operators' operations: show and list responses of all projects, list their attempts, requeue them."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Shown:
    """A response in the form that operators see."""

    id: str
    project: str
    status: str
    background: bool
    model: str
    tier: str
    attempt: int
    failures: int
    waits: int
    worker_id: str | None
    error: str | None  # error code and message of the final object
    requeued_from: str | None
    requeued_as: list[str]
    dispatched: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    available_at: datetime
    queued_until: datetime
    run_until: datetime | None
    ends_by: datetime


_SELECT = """
select r.id, p.name as project, r.status, r.background, r.model, r.tier, r.attempt, r.failures, r.waits, r.worker_id,
    case when r.status = 'failed' then r.document::json #>> '{error,code}' || ': '
        || (r.document::json #>> '{error,message}') end as error,
    r.requeued_from, array(select id from responses where requeued_from = r.id order by created_at) as requeued_as,
    r.dispatched_at is not null as dispatched, r.created_at, r.started_at, r.finished_at, r.available_at,
    r.queued_until, r.run_until, r.ends_by
from responses r join projects p on p.id = r.project_id
"""


def show(connection: Connection, response_id: str) -> Shown | None:
    """Find a response of any project; None if it does not exist."""
    with connection.cursor(row_factory=class_row(Shown)) as cursor:
        cursor.execute(_SELECT + "where r.id = %s", (response_id,))
        return cursor.fetchone()


def newest(
    connection: Connection, *, project: str | None, status: str | None, model: str | None, limit: int
) -> list[Shown]:
    """List at most `limit` responses, newest first."""
    with connection.cursor(row_factory=class_row(Shown)) as cursor:
        cursor.execute(
            _SELECT + "where (%(project)s::text is null or p.name = %(project)s)"
            " and (%(status)s::text is null or r.status = %(status)s)"
            " and (%(model)s::text is null or r.model = %(model)s)"
            " order by r.created_at desc, r.id desc limit %(limit)s",
            {"project": project, "status": status, "model": model, "limit": limit},
        )
        return cursor.fetchall()


@dataclass(frozen=True)
class Run:
    """One attempt to run a response."""

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    cause: str | None
    input_tokens: int | None
    output_tokens: int | None
    dropped: list[str] | None  # IDs of the items that truncation dropped, oldest first


def list_attempts(connection: Connection, response_id: str) -> list[Run]:
    """List all attempts to run a response, in order."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        cursor.execute(
            "select attempt, worker_id, started_at, ended_at, outcome, cause, input_tokens, output_tokens, dropped"
            " from attempts where response_id = %s order by attempt",
            (response_id,),
        )
        return cursor.fetchall()


@dataclass(frozen=True)
class Source:
    """The locked row of a response to requeue."""

    id: str
    project: str
    project_id: str
    key_id: str | None
    status: str
    model: str
    lane: str
    tier: str
    stored: bool
    metadata: dict[str, str]
    request: str
    document: str
    requeued_ids: list[str]  # IDs of its requeued copies that are queued, in progress or completed


def lock_source(connection: Connection, response_id: str) -> Source | None:
    """Lock a response to requeue until the transaction ends; None if it does not exist."""
    connection.execute("select 1 from responses where id = %s for no key update", (response_id,))
    # A separate statement, because its snapshot must include a response inserted by the previous holder of the lock.
    with connection.cursor(row_factory=class_row(Source)) as cursor:
        cursor.execute(
            "select r.id, p.name as project, r.project_id, r.key_id, r.status, r.model, r.lane, r.tier, r.stored,"
            " r.metadata, r.request, r.document,"
            " array(select id from responses where requeued_from = r.id"
            "     and status in ('queued', 'in_progress', 'completed')) as requeued_ids"
            " from responses r join projects p on p.id = r.project_id where r.id = %s",
            (response_id,),
        )
        return cursor.fetchone()

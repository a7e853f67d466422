"""SQL for operators: show and list responses of all projects, read their attempts, requeue them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class Shown:
    """A response as an operator sees it."""

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


_SHOWN = """
select r.id, p.name as project, r.status, r.background, r.model, r.tier, r.attempt, r.failures, r.waits, r.worker_id,
    case when r.status = 'failed' then r.document::json #>> '{error,code}' || ': '
        || (r.document::json #>> '{error,message}') end as error,
    r.requeued_from, array(select id from responses where requeued_from = r.id order by created_at) as requeued_as,
    r.dispatched_at is not null as dispatched, r.created_at, r.started_at, r.finished_at, r.available_at,
    r.queued_until, r.run_until, r.ends_by
from responses r join projects p on p.id = r.project_id
"""


def show(connection: Connection, response_id: str) -> Shown | None:
    """A response of any project; None if it does not exist."""
    with connection.cursor(row_factory=class_row(Shown)) as cursor:
        cursor.execute(_SHOWN + "where r.id = %s", (response_id,))
        return cursor.fetchone()


def newest(
    connection: Connection, *, project: str | None, status: str | None, model: str | None, limit: int
) -> list[Shown]:
    """The newest responses, newest first."""
    with connection.cursor(row_factory=class_row(Shown)) as cursor:
        cursor.execute(
            _SHOWN + "where (%(project)s::text is null or p.name = %(project)s)"
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
    dropped: list[str] | None  # IDs of the items that truncation left out, oldest first


def history(connection: Connection, response_id: str) -> list[Run]:
    """All attempts to run a response, in order."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        cursor.execute(
            "select attempt, worker_id, started_at, ended_at, outcome, cause, input_tokens, output_tokens, dropped"
            " from attempts where response_id = %s order by attempt",
            (response_id,),
        )
        return cursor.fetchall()


@dataclass(frozen=True)
class Source:
    """A response to requeue, locked against deletion."""

    id: str
    project: str
    project_id: str
    status: str
    model: str
    stored: bool
    request: str
    document: str
    made: list[str]  # IDs of responses requeued from it that are queued, in progress or completed


def lock(connection: Connection, response_id: str) -> Source | None:
    """Lock a response to requeue until the transaction ends; None if it does not exist."""
    connection.execute("select 1 from responses where id = %s for no key update", (response_id,))
    # A separate statement: its snapshot must include the response that the previous holder of the lock inserted.
    with connection.cursor(row_factory=class_row(Source)) as cursor:
        cursor.execute(
            "select r.id, p.name as project, r.project_id, r.status, r.model, r.stored, r.request, r.document,"
            " array(select id from responses where requeued_from = r.id"
            "     and status in ('queued', 'in_progress', 'completed')) as made"
            " from responses r join projects p on p.id = r.project_id where r.id = %s",
            (response_id,),
        )
        return cursor.fetchone()


_INSERT = """
with new as (
    insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by,
                           metadata, request, document, key_id, requeued_from)
    select %(id)s, project_id, 'queued', true, model, lane, tier, %(run_s)s,
        now() + least(%(queue_s)s, %(whole_s)s) * interval '1 s', now() + %(whole_s)s * interval '1 s',
        metadata, %(request)s, %(document)s, key_id, id
    from responses where id = %(source)s
    returning id, project_id
), log as (
    insert into response_events (response_id, attempt, first_seq, n, data)
    select id, 0, 0, %(n)s, %(events)s from new
), large as (
    insert into response_contents (response_id, project_id, content_id)
    select new.id, c.project_id, c.content_id from new, response_contents c where c.response_id = %(source)s
    order by c.content_id
)
insert into items (project_id, id, response_id)
select i.project_id, i.id, new.id from new join items i on i.project_id = new.project_id
where i.response_id = %(source)s and i.id = any (%(item_ids)s::text[])
order by i.id
"""


def insert_again(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a queued response with its first events, copied from a locked response; dispatch enqueues it later."""
    connection.execute(_INSERT, values)

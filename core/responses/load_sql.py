"""SQL that counts waiting, dispatched and running responses, and lists live workers, for operators."""

from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection


@dataclass(frozen=True)
class ResponseGroup:
    """Counts of the responses of one lane, tier, project and model that have not ended.

    Args:
        waiting: number of responses that wait in Postgres to be dispatched.
        later: number of waiting responses that are not due yet, because they back off before another attempt.
        dispatched: number of dispatched responses without a worker; the next worker with a free slot claims them.
        oldest_s: age in seconds of the oldest waiting or dispatched response; None if there is none.
    """

    lane: str
    tier: str
    project: str
    model: str
    waiting: int
    later: int
    dispatched: int
    running: int
    oldest_s: float | None


_LIST_GROUPS = """
select counted.lane, counted.tier, p.name as project, counted.model, counted.waiting, counted.later, counted.dispatched,
    counted.running, counted.oldest_s
from (
    select lane, tier, project_id, model,
        count(*) filter (where status = 'queued' and dispatched_at is null) as waiting,
        count(*) filter (where status = 'queued' and dispatched_at is null and available_at > now()) as later,
        count(*) filter (where status = 'queued' and dispatched_at is not null) as dispatched,
        count(*) filter (where status = 'in_progress') as running,
        extract(epoch from now() - min(created_at) filter (where status = 'queued'))::double precision as oldest_s
    from responses
    where (status = 'queued' and dispatched_at is null)
        or (status = 'in_progress' or (status = 'queued' and dispatched_at is not null))
    group by lane, tier, project_id, model
) counted join projects p on p.id = counted.project_id
order by counted.waiting desc, counted.running + counted.dispatched desc, 1, 2, 3, 4
"""


def list_groups(connection: Connection) -> list[ResponseGroup]:
    """List all groups of responses that have not ended; the groups with the most waiting responses come first."""
    with connection.cursor(row_factory=class_row(ResponseGroup)) as cursor:
        cursor.execute(_LIST_GROUPS)
        return cursor.fetchall()


@dataclass(frozen=True)
class LiveWorker:
    """A live worker with its lanes, its number of slots and the number of responses that it runs."""

    id: str
    hostname: str
    pid: int
    lanes: list[str]
    slots: int
    running: int


def list_workers(connection: Connection, seen_s: float) -> list[LiveWorker]:
    """List the workers that registered a heartbeat in the last `seen_s` seconds."""
    with connection.cursor(row_factory=class_row(LiveWorker)) as cursor:
        cursor.execute(
            "select w.id, w.hostname, w.pid, w.lanes, w.slots,"
            " (select count(*) from responses r where r.status = 'in_progress' and r.worker_id = w.id) as running"
            " from workers w where w.seen_at > now() - %s * interval '1 s' order by w.hostname, w.id",
            (seen_s,),
        )
        return cursor.fetchall()

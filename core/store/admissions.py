"""What admission counts: responses that wait, and capacity to spare."""

from core.db import Connection


def lock(connection: Connection, name: str) -> None:
    """Let one transaction at a time count and then add to what `name` stands for; until it ends.

    A statement of its own: the counts of the next one must see what the last holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('admission:' || %s, 0))", (name,))


def waiting(connection: Connection, project_id: str, model: str, limit: int) -> int:
    """How many of a project's responses for a model wait for a worker; counted up to `limit`."""
    row = connection.execute(
        "select count(*) from (select from responses where project_id = %s and model = %s and finished_at is null"
        " and status = 'queued' and rung_at is null limit %s) waiting",
        (project_id, model, limit),
    ).fetchone()
    assert row is not None
    return int(row[0])


# All that is unfinished counts against what is there: what waits will want it, too.
_SPARE = """
select not exists (select from circuits where model = %(model)s)
    and (select count(*) from responses where lane = %(lane)s
         and (status = 'in_progress' or (status = 'queued' and rung_at is not null)))
      + (select count(*) from (select from responses where lane = %(lane)s
         and status = 'queued' and rung_at is null limit 10000) waiting)
        < %(share)s * (select coalesce(sum(slots), 0) from workers
            where %(lane)s = any (lanes) and seen_at > now() - %(worker_seen_s)s * interval '1 s')
    and (%(concurrency)s::int is null
        or (select count(*) from responses where lane = %(lane)s and model = %(model)s
            and (status = 'in_progress' or (status = 'queued' and rung_at is not null)))
         + (select count(*) from (select from responses where lane = %(lane)s and model = %(model)s
            and status = 'queued' and rung_at is null limit 10000) waiting)
            < %(share)s * %(concurrency)s)
"""


def spare(
    connection: Connection, lane: str, model: str, *, concurrency: int | None, share: float, worker_seen_s: float
) -> bool:
    """Whether less than `share` of a lane's live slots, and of its model's concurrency, is taken or wanted."""
    row = connection.execute(
        _SPARE,
        {
            "lane": lane,
            "model": model,
            "concurrency": concurrency,
            "share": share,
            "worker_seen_s": worker_seen_s,
        },
    ).fetchone()
    assert row is not None
    return bool(row[0])

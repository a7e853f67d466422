"""What admission counts: responses that wait, and capacity to spare."""

from core.database import Connection
from core.dispatch.capacity_sql import CAPACITY, Rules


def lock(connection: Connection, name: str) -> None:
    """Let one transaction at a time count and then add to what `name` stands for; until it ends.

    A statement of its own: the counts of the next one must see what the last holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('admission:' || %s, 0))", (name,))


def waiting(connection: Connection, project_id: str, model: str, limit: int) -> int:
    """How many of a project's responses for a model wait for a worker; counted up to `limit`."""
    row = connection.execute(
        "select count(*) from (select from responses where project_id = %s and model = %s and finished_at is null"
        " and status = 'queued' and dispatched_at is null limit %s) waiting",
        (project_id, model, limit),
    ).fetchone()
    assert row is not None
    return int(row[0])


# All that is unfinished counts against what is there: what waits will want it, too. No more is counted of what waits
# than it takes to say no.
_SPARE = """
with {room}, lane (room) as (
    select coalesce((select n - reserve from lane_room where lane = %(lane)s), 0)
), model (room) as (
    select (1 - %(reserve)s) * %(concurrency)s::int
        - (select coalesce(sum(n), 0) from occupied where model = %(model)s)
)
select not exists (select from circuits where model = %(model)s)
    and (select room from lane) > (select count(*) from (
        select from responses where lane = %(lane)s and status = 'queued' and dispatched_at is null
        limit greatest(0, (select room from lane))) waiting)
    and (%(concurrency)s::int is null or (select room from model) > (select count(*) from (
        select from responses where model = %(model)s and status = 'queued' and dispatched_at is null
        limit greatest(0, ceil((select room from model)))::int) waiting))
"""
_SPARE = _SPARE.format(room=CAPACITY)


def spare(connection: Connection, rules: Rules, lane: str, model: str, concurrency: int | None) -> bool:
    """Whether the reserve, a part of a lane's live slots and of its model's concurrency, stays free with one more."""
    row = connection.execute(
        _SPARE, {"lane": lane, "model": model, "concurrency": concurrency, **rules.parameters}
    ).fetchone()
    assert row is not None
    return bool(row[0])

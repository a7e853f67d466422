"""SQL of admission: counts waiting responses and finds spare capacity.

Hand-written, because every create request of a project with limits runs it under a lock.
"""

from core.database import Connection
from core.dispatch.capacity_sql import CAPACITY
from core.dispatch.situation import Rules
from core.tables.conditions import is_waiting


def lock(connection: Connection, name: str) -> None:
    """Acquire the admission lock `name` until the end of the transaction.

    Only one create request at a time can then count responses and add one. The lock is a separate statement, because
    the next statement must count the responses that the previous holder of the lock committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('admission:' || %s, 0))", (name,))


def count_waiting(connection: Connection, project_id: str, model: str, limit: int) -> int:
    """Count the responses of a project and a model that wait for a worker, up to `limit`."""
    row = connection.execute(
        "select count(*) from (select from responses where project_id = %s and model = %s and finished_at is null"
        f" and {is_waiting()} limit %s) waiting",
        (project_id, model, limit),
    ).fetchone()
    assert row is not None
    return int(row[0])


# All unfinished responses use capacity, because waiting responses will also need a slot. The LIMIT clauses stop the
# count of waiting responses when these use up the capacity.
_HAS_SPARE_CAPACITY = """
with {capacity}, lane (capacity) as (
    select coalesce((select n - reserve from lane_capacity where lane = %(lane)s), 0)
), model (capacity) as (
    select (1 - %(reserve)s) * %(concurrency)s::int
        - (select coalesce(sum(n), 0) from occupied where model = %(model)s)
)
select not exists (select from circuits where model = %(model)s)
    and (select capacity from lane) > (select count(*) from (
        select from responses where lane = %(lane)s and {waiting}
        limit greatest(0, (select capacity from lane))) waiting)
    and (%(concurrency)s::int is null or (select capacity from model) > (select count(*) from (
        select from responses where model = %(model)s and {waiting}
        limit greatest(0, ceil((select capacity from model)))::int) waiting))
"""
_HAS_SPARE_CAPACITY = _HAS_SPARE_CAPACITY.format(capacity=CAPACITY, waiting=is_waiting())


def has_spare_capacity(connection: Connection, rules: Rules, lane: str, model: str, concurrency: int | None) -> bool:
    """Whether one more response would leave the reserves of the lane's slots and the model's concurrency free."""
    row = connection.execute(
        _HAS_SPARE_CAPACITY, {"lane": lane, "model": model, "concurrency": concurrency, **rules.parameters}
    ).fetchone()
    assert row is not None
    return bool(row[0])

"""The dispatch lock, what takes a dispatch back, and lanes that no worker serves."""

from collections.abc import Collection, Sequence

from core.database import Connection


def lock(connection: Connection) -> None:
    """Take the lock of all dispatching until the transaction ends.

    One for all lanes: they share workers, models and projects' limits. A statement of its own: the counts of the next
    one must see what the last holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('dispatch', 0))")


# Where nothing came of a ring, its project is as if it never had a turn.
_RECALL = """
with back as (
    update responses set dispatched_at = null where id in (
        select id from responses where status = 'queued' and dispatched_at is not null and {which}
        order by id for no key update skip locked)
    returning id, tier, project_id
), turned as (
    delete from turns where (tier, project_id) in (
        select t.tier, t.project_id from turns t join (select distinct tier, project_id from back) b
            using (tier, project_id)
        order by t.tier, t.project_id for update of t skip locked)
)
select id from back
"""


def recall(connection: Connection, response_ids: Sequence[str]) -> int:
    """Put dispatched responses back to waiting because no doorbell could be sent; how many."""
    return connection.execute(_RECALL.format(which="id = any (%s)"), (list(response_ids),)).rowcount


def recall_unclaimed(connection: Connection, claim_within_s: float) -> int:
    """Put responses back to waiting that were dispatched and that nobody claimed in time; how many."""
    which = "dispatched_at < now() - %s * interval '1 s'"
    return connection.execute(_RECALL.format(which=which), (claim_within_s,)).rowcount


_UNSERVED = """
with recursive waiting as (
    (select lane from responses where status = 'queued' and dispatched_at is null order by lane limit 1)
    union all
    select next.lane from waiting w cross join lateral (
        select r.lane from responses r where r.status = 'queued' and r.dispatched_at is null and r.lane > w.lane
        order by r.lane limit 1) next
)
select lane from waiting where not exists (
    select from workers where waiting.lane = any (lanes) and seen_at > now() - %s * interval '1 s')
"""


def unserved(connection: Connection, worker_seen_s: float) -> Collection[str]:
    """The lanes in which responses wait, and that no live worker serves."""
    return [str(row[0]) for row in connection.execute(_UNSERVED, (worker_seen_s,))]


def delete_old_turns(connection: Connection, after_s: float) -> None:
    """Forget who had a turn so long ago that it says nothing about who is next."""
    connection.execute(
        "delete from turns where (tier, project_id) in (select tier, project_id from turns"
        " where had_at < now() - %s * interval '1 s' for update skip locked)",
        (after_s,),
    )

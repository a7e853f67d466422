"""SQL for the dispatch lock, the recall of dispatched responses, and lanes that no worker serves."""

from collections.abc import Collection, Sequence

from core.database import Connection


def lock(connection: Connection) -> None:
    """Acquire the dispatch lock until the end of the transaction.

    There is one lock for all lanes, because they share workers, models and the limits of projects. It is a separate
    statement, because the counts of the next statement must see what the previous holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('dispatch', 0))")


# The turn of a project is deleted with the recall of its response, as if the project had not been served.
_RECALL = """
with back as (
    update responses set dispatched_at = null where id in (
        select id from responses where status = 'queued' and dispatched_at is not null and {which}
        order by id for no key update skip locked)
    returning id, tier, project_id
), turned as (
    delete from fair_shares where (tier, project_id) in (
        select t.tier, t.project_id from fair_shares t join (select distinct tier, project_id from back) b
            using (tier, project_id)
        order by t.tier, t.project_id for update of t skip locked)
)
select id from back
"""


def recall(connection: Connection, response_ids: Sequence[str]) -> int:
    """Return dispatched responses to waiting because they could not be enqueued; return their number."""
    return connection.execute(_RECALL.format(which="id = any (%s)"), (list(response_ids),)).rowcount


def recall_unclaimed(connection: Connection, claim_within_s: float) -> int:
    """Return dispatched responses to waiting that no worker claimed within `claim_within_s`; return their number."""
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
    """Return the lanes in which responses wait and which no live worker serves."""
    return [str(row[0]) for row in connection.execute(_UNSERVED, (worker_seen_s,))]


def delete_old_shares(connection: Connection, after_s: float) -> None:
    """Delete fair shares older than `after_s` seconds, which no longer affect the choice of the next project."""
    connection.execute(
        "delete from fair_shares where (tier, project_id) in (select tier, project_id from fair_shares"
        " where had_at < now() - %s * interval '1 s' for update skip locked)",
        (after_s,),
    )

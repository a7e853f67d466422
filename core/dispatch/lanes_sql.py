"""SQL for the dispatch lock, recalls, lanes and models that no worker serves, and the deletion of service records.

Hand-written, because the searches for waiting responses must be loose index scans.
"""

from collections.abc import Collection, Sequence

from core.database import Connection
from core.tables.conditions import is_dispatched, is_live, is_waiting


def lock(connection: Connection) -> None:
    """Acquire the dispatch lock until the end of the transaction.

    There is one lock for all lanes, because they share workers, models and the limits of projects. A separate statement
    acquires it, so that the counts of the next statement include the changes that the previous holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('dispatch', 0))")


# A recall also deletes the project's service record in the tier, as if the project had not been served.
_RECALL = f"""
with recalled as (
    update responses set dispatched_at = null where id in (
        select id from responses where {is_dispatched()} and {{condition}}
        order by id for no key update skip locked)
    returning id, tier, project_id
), deleted_shares as (
    delete from fair_shares where (tier, project_id) in (
        select t.tier, t.project_id from fair_shares t join (select distinct tier, project_id from recalled) b
            using (tier, project_id)
        order by t.tier, t.project_id for update of t skip locked)
)
select id from recalled
"""


def recall(connection: Connection, response_ids: Sequence[str]) -> int:
    """Recall dispatched responses that could not be enqueued; return their number."""
    return connection.execute(_RECALL.format(condition="id = any (%s)"), (list(response_ids),)).rowcount


def recall_unclaimed(connection: Connection, claim_within_s: float) -> int:
    """Recall dispatched responses that no worker claimed within `claim_within_s` seconds; return their number."""
    condition = "dispatched_at < now() - %s * interval '1 s'"
    return connection.execute(_RECALL.format(condition=condition), (claim_within_s,)).rowcount


_UNSERVED = f"""
with recursive waiting as (
    (select lane from responses where {is_waiting()} order by lane limit 1)
    union all
    select next.lane from waiting w cross join lateral (
        select r.lane from responses r where {is_waiting("r")} and r.lane > w.lane
        order by r.lane limit 1) next
)
select lane from waiting where not exists (
    select from workers where waiting.lane = any (lanes) and slots > 0 and {is_live()})
"""


def list_unserved_lanes(connection: Connection, worker_seen_s: float) -> Collection[str]:
    """Return the lanes with waiting responses that no live worker serves; a draining worker serves none."""
    return [str(row[0]) for row in connection.execute(_UNSERVED, {"worker_seen_s": worker_seen_s})]


# All groups of waiting responses, found by a loose index scan. A worker without `models` is assumed to know all models.
_UNKNOWN_MODELS = f"""
with recursive groups as (
    (select lane, tier, project_id, model from responses where {is_waiting()}
     order by lane, tier, project_id, model limit 1)
    union all
    select next.* from groups g cross join lateral (
        select r.lane, r.tier, r.project_id, r.model from responses r where {is_waiting("r")}
            and (r.lane, r.tier, r.project_id, r.model) > (g.lane, g.tier, g.project_id, g.model)
        order by r.lane, r.tier, r.project_id, r.model limit 1) next
), live as materialized (
    select lanes, models from workers where slots > 0 and {is_live()}
)
select lane, model from (select distinct lane, model from groups) pairs
where exists (select from live where lane = any (lanes))
    and not exists (select from live where lane = any (lanes) and (models is null or models ? model))
"""


def list_unknown_models(connection: Connection, worker_seen_s: float) -> list[tuple[str, str]]:
    """Return lane and model of waiting responses whose lane has live workers, but none of them knows the model."""
    return [
        (str(lane), str(model)) for lane, model in connection.execute(_UNKNOWN_MODELS, {"worker_seen_s": worker_seen_s})
    ]


def delete_old_shares(connection: Connection, retention_s: float) -> None:
    """Delete service records older than `retention_s` seconds, which no longer affect the choice of a project."""
    connection.execute(
        "delete from fair_shares where (tier, project_id) in (select tier, project_id from fair_shares"
        " where had_at < now() - %s * interval '1 s' for update skip locked)",
        (retention_s,),
    )

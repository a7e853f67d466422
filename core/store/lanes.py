"""Who may be rung now: the dispatch statement, and what takes a ring back."""

from collections.abc import Mapping, Sequence

from core.db import Connection

# Stamps the next waiting rows of a lane as rung, as many as its live workers have room for.
#   gates        models whose servers are away: they may take nothing, or one response that tries them (the probe)
#   caps, room   what each limited model may still take
#   groups       every (tier, project, model) with something waiting, by hopping through the waiting index
#   candidates   the first few of each group: foreground before background, then by age
#   ranked       by weight of tier, then the project with least running; no tier starves, each has a share
_DISPATCH = """
with recursive weights (tier, weight) as (
    select * from unnest(%(tiers)s::text[], %(weights)s::float[])
), caps (model, cap) as (
    select * from unnest(%(models)s::text[], %(caps)s::int[])
), busy as materialized (
    select tier, project_id, model, count(*) as n from responses
    where lane = %(lane)s and (status = 'in_progress' or (status = 'queued' and rung_at is not null))
    group by tier, project_id, model
), free as materialized (
    select least(%(limit)s, greatest(0,
        (select coalesce(sum(slots), 0) from workers
         where %(lane)s = any (lanes) and seen_at > now() - %(worker_seen_s)s * interval '1 s')
        - (select coalesce(sum(n), 0) from busy)))::bigint as n
), gates as materialized (
    select model, (open_until <= now() and not exists (
        select from responses r where r.id = circuits.probe
            and (r.status = 'in_progress' or (r.status = 'queued' and r.rung_at is not null))))::int as n
    from circuits
), room as (
    select model, min(n)::bigint as n from (
        select caps.model, caps.cap - coalesce(sum(busy.n), 0) as n from caps left join busy using (model)
        group by caps.model, caps.cap
        union all select model, n from gates) limits
    group by model
), groups as (
    (select tier, project_id, model from responses
     where lane = %(lane)s and status = 'queued' and rung_at is null and (select n from free) > 0
     order by tier, project_id, model limit 1)
    union all
    select next.* from groups g cross join lateral (
        select r.tier, r.project_id, r.model from responses r
        where r.lane = %(lane)s and r.status = 'queued' and r.rung_at is null
            and (r.tier, r.project_id, r.model) > (g.tier, g.project_id, g.model)
        order by r.tier, r.project_id, r.model limit 1) next
), candidates as (
    select g.tier, g.project_id, g.model, room.n as model_room, waiting.id, waiting.background, waiting.available_at
    from groups g left join room using (model) cross join lateral (
        select r.id, r.background, r.available_at from responses r
        where r.lane = %(lane)s and r.tier = g.tier and r.project_id = g.project_id and r.model = g.model
            and r.status = 'queued' and r.rung_at is null and r.available_at <= now()
        order by r.background, r.available_at
        limit greatest(0, least((select n from free), room.n::bigint))) waiting
), in_project as (
    select c.*, coalesce(b.n, 0) + row_number() over (
        partition by c.tier, c.project_id order by c.background, c.available_at) as project_rank
    from candidates c
    left join (select project_id, sum(n) as n from busy group by project_id) b using (project_id)
), ranked as (
    select p.*, (coalesce(b.n, 0) + row_number() over (
        partition by p.tier order by p.project_rank, p.background, p.available_at)) / w.weight as score
    from in_project p join weights w using (tier)
    left join (select tier, sum(n) as n from busy group by tier) b using (tier)
), fitting as (
    select r.*, row_number() over (
        partition by r.model order by r.score, r.project_rank, r.background, r.available_at) as model_rank
    from ranked r
), chosen as (
    select id from fitting where model_room is null or model_rank <= model_room
    order by score, project_rank, background, available_at limit (select n from free)
), rung as (
    update responses set rung_at = now()
    where responses.id = any (array(select id from chosen)) and status = 'queued' and rung_at is null
    returning id, model
), probes as (
    update circuits set probe = rung.id from rung where rung.model = circuits.model
)
select id from rung
"""


def lock(connection: Connection, lane: str) -> None:
    """Take the lane's dispatch lock until the transaction ends.

    A statement of its own: the counts of the next one must see what the last holder committed.
    """
    connection.execute("select pg_advisory_xact_lock(hashtextextended('lane:' || %s, 0))", (lane,))


def dispatch(
    connection: Connection,
    lane: str,
    *,
    weights: Mapping[str, float],
    caps: Mapping[str, int],
    worker_seen_s: float,
    limit: int,
) -> list[str]:
    """Stamp the waiting responses that may run now as rung; their IDs. The caller holds the lane's lock."""
    rows = connection.execute(
        _DISPATCH,
        {
            "lane": lane,
            "tiers": list(weights),
            "weights": list(weights.values()),
            "models": list(caps),
            "caps": list(caps.values()),
            "worker_seen_s": worker_seen_s,
            "limit": limit,
        },
    )
    return [str(row[0]) for row in rows]


_UNRING = """
update responses set rung_at = null where id in (
    select id from responses where status = 'queued' and rung_at is not null and {which}
    order by id for no key update skip locked)
returning id
"""


def unring(connection: Connection, response_ids: Sequence[str]) -> int:
    """Put rung responses back to waiting because no doorbell could be sent; how many."""
    return connection.execute(_UNRING.format(which="id = any (%s)"), (list(response_ids),)).rowcount


def unring_unclaimed(connection: Connection, claim_within_s: float) -> int:
    """Put responses back to waiting that were rung and that nobody claimed in time; how many."""
    which = "rung_at < now() - %s * interval '1 s'"
    return connection.execute(_UNRING.format(which=which), (claim_within_s,)).rowcount

"""Who may be rung now: the dispatch statement, and what takes a ring back."""

from collections.abc import Collection, Sequence

from core.db import Connection
from core.store.room import LIMIT, ROOM, Rules

# Stamps the next waiting rows as rung, as many as live workers have room for.
#   gates        models whose servers are away: they may take nothing, or one response that tries them (the probe)
#   caps, room   what each limited model may still take
#   groups       every (lane, tier, project, model) with something waiting where there is room, by hopping through
#                the waiting index
#   limited      what projects may still take of each model
#   candidates   the first few of each group: foreground before background, then by age; of flex, by deadline
#   in_tier      the project with least running, then the one whose last turn is longest ago;
#                a turn is known by its ring, by those who see it run, and by the worker that it made room on
#   placed       tiers by weight: each turn costs 1 / weight, and the tier that comes out cheapest is next. One that
#                was away has saved up one turn at the most. One that has its part of the slots lets others go first
#   spared       over-limit responses leave the reserve to others
#   chosen       what fits into every set of lanes
_DISPATCH = """
with recursive weights (tier, weight) as (
    select * from unnest(%(tiers)s::text[], %(weights)s::float[])
), caps (model, cap) as (
    select * from unnest(%(models)s::text[], %(caps)s::int[])
), {room}, free as materialized (
    select greatest(0, least(%(batch)s, max(n)))::bigint as n from sets
), gates as materialized (
    select model, (open_until <= now() and not exists (
        select from responses r where r.id = circuits.probe
            and (r.status = 'in_progress' or (r.status = 'queued' and r.rung_at is not null))))::int as n
    from circuits
), room as (
    select model, min(n)::bigint as n from (
        select c.model, c.cap - coalesce(sum(o.n), 0) as n from caps c left join occupied o using (model)
        group by c.model, c.cap
        union all select model, n from gates) least_of
    group by model
), groups as (
    (select first.* from lane_room l cross join lateral (
        select r.lane, r.tier, r.project_id, r.model from responses r
        where r.lane = l.lane and r.status = 'queued' and r.rung_at is null
        order by r.lane, r.tier, r.project_id, r.model limit 1) first
     where l.n > 0)
    union all
    select next.* from groups g cross join lateral (
        select r.lane, r.tier, r.project_id, r.model from responses r
        where r.lane = g.lane and r.status = 'queued' and r.rung_at is null
            and (r.tier, r.project_id, r.model) > (g.tier, g.project_id, g.model)
        order by r.tier, r.project_id, r.model limit 1) next
), limited as (
    select pair.project_id, pair.model, (said.cap - (
        select coalesce(sum(o.n), 0) from occupied o where o.project_id = pair.project_id and o.model = pair.model
        ))::bigint as n
    from (select distinct project_id, model from groups where exists (select from limits)) pair
    join projects p on p.id = pair.project_id
    {limit}
    where said.cap is not null
), candidates as (
    select g.*, room.n as model_room, limited.n as project_room, waiting.*
    from groups g join lane_room using (lane) left join room using (model) left join limited using (project_id, model)
    cross join lateral (select greatest(0, least((select n from free), room.n, limited.n, lane_room.n
        - case g.tier when 'over-limit' then lane_room.reserve else 0 end)) as n) most
    cross join lateral (
        (select r.id, r.background, r.available_at as due from responses r
         where g.tier <> 'flex' and r.lane = g.lane and r.tier = g.tier and r.project_id = g.project_id
            and r.model = g.model and r.status = 'queued' and r.rung_at is null and r.available_at <= now()
         order by r.background, r.available_at limit most.n)
        union all
        (select r.id, r.background, r.queued_until as due from responses r
         where g.tier = 'flex' and r.lane = g.lane and r.tier = 'flex' and r.project_id = g.project_id
            and r.model = g.model and r.status = 'queued' and r.rung_at is null and r.available_at <= now()
         order by r.background, r.queued_until limit most.n)) waiting
), in_project as (
    select c.*, coalesce(o.n, 0) + row_number() over (
        partition by c.tier, c.project_id order by c.background, c.due, c.id) as project_rank
    from candidates c
    left join (select project_id, sum(n)::bigint as n from occupied group by project_id) o using (project_id)
), ran as materialized (
    select distinct tier, project_id from responses where id = any (%(ran)s)
), in_tier as (
    select p.*, row_number() over (
        partition by p.tier order by p.project_rank, ran.tier is not null, t.had_at nulls first, p.background, p.due,
            p.id) as tier_rank
    from in_project p left join turns t using (tier, project_id) left join ran using (tier, project_id)
), begins as (
    select w.tier, w.weight, coalesce(o.n, 0) as running,
        greatest(t.charged, max(t.charged - 1 / w.weight) over () - 1 / w.weight, 0) as charged,
        case when c.tier is not null then ceil((select sum(slots) from pools) * w.weight
            / sum(w.weight) filter (where c.tier is not null) over ()) end as part
    from weights w
    left join (select tier, max(charged) as charged from turns group by tier) t using (tier)
    left join (select tier, sum(n)::bigint as n from occupied group by tier) o using (tier)
    left join (select distinct tier from in_tier) c using (tier)
), placed as (
    select i.*, b.charged + i.tier_rank / b.weight as charged, row_number() over (
        order by b.running + i.tier_rank > b.part, b.charged + i.tier_rank / b.weight, b.weight desc, i.tier) as place
    from in_tier i join begins b using (tier)
), in_limits as (
    select p.*, row_number() over (partition by model order by place) as model_rank
    from (select *, row_number() over (partition by project_id, model order by place) as pair_rank from placed) p
    where project_room is null or pair_rank <= project_room
), spared as (
    select i.* from (
        select *, row_number() over (partition by lane order by place) as lane_rank
        from in_limits where model_room is null or model_rank <= model_room) i
    join lane_room l using (lane)
    where i.tier <> 'over-limit' or i.lane_rank <= l.n - l.reserve
), fitting as (
    select s.id, s.tier, s.project_id, s.charged, s.place
    from (select s.*, sets.n as set_room, row_number() over (partition by sets.lanes order by s.place) as set_rank
          from spared s join sets on s.lane = any (sets.lanes)) s
    group by s.id, s.tier, s.project_id, s.charged, s.place having bool_and(s.set_rank <= s.set_room)
), chosen as materialized (
    select * from fitting order by place limit (select n from free)
), rung as (
    update responses set rung_at = now()
    where responses.id = any (array(select id from chosen)) and status = 'queued' and rung_at is null
    returning id, model, lane
), probes as (
    update circuits set probe = rung.id from rung where rung.model = circuits.model
), had as (
    insert into turns (tier, project_id, charged, had_at)
    select tier, project_id, max(charged), statement_timestamp() from (
        select tier, project_id, charged from chosen
        union all
        select o.tier, o.project_id, 0 from (
            select tier, project_id from occupied union select tier, project_id from ran) o
        left join turns t using (tier, project_id)
        where (t.tier is null or t.had_at < statement_timestamp() - interval '1 s')
            and exists (select from responses where status = 'queued' and rung_at is null)) have
    group by tier, project_id order by tier, project_id
    on conflict (tier, project_id) do update
    set charged = greatest(turns.charged, excluded.charged), had_at = excluded.had_at
)
select lane, id from rung
"""
_DISPATCH = _DISPATCH.format(room=ROOM, limit=LIMIT)


def waits(connection: Connection) -> bool:
    """Whether anything waits to be rung: where nothing does, this is all that a dispatch costs."""
    found = connection.execute("select 1 from responses where status = 'queued' and rung_at is null limit 1")
    return found.fetchone() is not None


def lock(connection: Connection) -> None:
    """Take the lock of all dispatching until the transaction ends.

    One for all lanes: they share workers, models and projects' limits. A statement of its own: the counts of the next
    one must see what the last holder committed.
    """
    # Planning the statement would take longer than running it: it is planned once a connection.
    connection.execute(
        "select pg_advisory_xact_lock(hashtextextended('dispatch', 0)),"
        " set_config('plan_cache_mode', 'force_generic_plan', true)"
    )


def dispatch(connection: Connection, rules: Rules, ran: Sequence[str] = ()) -> dict[str, list[str]]:
    """Stamp the waiting responses that may run now as rung; their IDs by lane. The caller holds the lock.

    Args:
        ran: IDs of responses that just made room: whose they were had a turn, also if nobody saw it begin.
    """
    rows = connection.execute(
        _DISPATCH,
        {
            "tiers": list(rules.weights),
            "weights": list(rules.weights.values()),
            "models": list(rules.caps),
            "caps": list(rules.caps.values()),
            "batch": rules.batch,
            "ran": list(ran),
        }
        | rules.parameters,
    )
    rung: dict[str, list[str]] = {}
    for lane, response_id in rows:
        rung.setdefault(lane, []).append(response_id)
    return rung


# Where nothing came of a ring, its project is as if it never had a turn.
_UNRING = """
with back as (
    update responses set rung_at = null where id in (
        select id from responses where status = 'queued' and rung_at is not null and {which}
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


def unring(connection: Connection, response_ids: Sequence[str]) -> int:
    """Put rung responses back to waiting because no doorbell could be sent; how many."""
    return connection.execute(_UNRING.format(which="id = any (%s)"), (list(response_ids),)).rowcount


def unring_unclaimed(connection: Connection, claim_within_s: float) -> int:
    """Put responses back to waiting that were rung and that nobody claimed in time; how many."""
    which = "rung_at < now() - %s * interval '1 s'"
    return connection.execute(_UNRING.format(which=which), (claim_within_s,)).rowcount


_UNSERVED = """
with recursive waiting as (
    (select lane from responses where status = 'queued' and rung_at is null order by lane limit 1)
    union all
    select next.lane from waiting w cross join lateral (
        select r.lane from responses r where r.status = 'queued' and r.rung_at is null and r.lane > w.lane
        order by r.lane limit 1) next
)
select lane from waiting where not exists (
    select from workers where waiting.lane = any (lanes) and seen_at > now() - %s * interval '1 s')
"""


def unserved(connection: Connection, worker_seen_s: float) -> Collection[str]:
    """The lanes in which responses wait, and that no live worker serves."""
    return [str(row[0]) for row in connection.execute(_UNSERVED, (worker_seen_s,))]


def forget_turns(connection: Connection, after_s: float) -> None:
    """Forget who had a turn so long ago that it says nothing about who is next."""
    connection.execute(
        "delete from turns where (tier, project_id) in (select tier, project_id from turns"
        " where had_at < now() - %s * interval '1 s' for update skip locked)",
        (after_s,),
    )

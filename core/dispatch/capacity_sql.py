"""Free capacity by lane in SQL: common table expressions at the beginning of other statements.

Dispatch itself computes capacity exactly, in `core/dispatch/capacity.py`. Creation and admission decide about a
single lane within one statement and therefore use this SQL form. It ignores which models the workers know, and its
result may be too small if more responses are dispatched than there are free slots. The SQL is hand-written, because
every create request runs it.
"""

from core.tables.conditions import is_busy, is_live

# The parameters are those of `Rules.parameters`. The sets of lanes are a parameter because Postgres estimates 1,000
# rows for `generate_series`, and all later estimates would be based on that.
#   limits      maximum number of simultaneously running responses, by project and model; "*" matches all
#   occupied    running and dispatched responses; a dispatched one will occupy a slot of the worker that claims it
#   live        live workers
#   pools       live workers that serve the same lanes, with their slots and free slots; all lanes that are not in this
#               configuration are treated as one lane, named ''
#   expected    responses dispatched to each lane, but at most the free slots of its workers: the excess does not
#               occupy slots of other lanes
#   sets        sets of lanes, and the free slots of the workers that serve any lane of the set, less the responses
#               dispatched to these lanes. The capacity of a lane is the minimum over all sets that contain it, so no
#               slot is counted for two responses, and every free slot of workers that serve only this lane is counted
#   lane_capacity   number of responses that may be dispatched to a lane, and the slots of the lane that over-limit
#               responses must leave free
CAPACITY = f"""
limits (project, model, cap) as (
    select * from unnest(%(limit_projects)s::text[], %(limit_models)s::text[], %(limit_caps)s::int[])
), occupied as materialized (
    select lane, tier, project_id, model, worker_id, count(*) as n from responses
    where {is_busy()}
    group by lane, tier, project_id, model, worker_id
), live as materialized (
    select id, lanes, slots, models from workers where {is_live()}
), pools as materialized (
    select array(select distinct case when lane = any (%(lanes)s) then lane else '' end from unnest(w.lanes) lane)
            as lanes,
        sum(w.slots) as slots, sum(greatest(0, w.slots - coalesce(running.n, 0))) as free
    from live w left join (
        select worker_id, sum(n) as n from occupied where worker_id is not null group by worker_id
    ) running on running.worker_id = w.id
    group by w.lanes
), expected as materialized (
    select lane, least(n, (select coalesce(sum(free), 0) from pools where unclaimed.lane = any (pools.lanes))) as n
    from (
        select case when lane = any (%(lanes)s) then lane else '' end as lane, sum(n) as n
        from occupied where worker_id is null group by 1
    ) unclaimed
), sets as materialized (
    select lanes, (select sum(free) from pools where pools.lanes && given.lanes)
        - coalesce((select sum(n) from expected where lane = any (given.lanes)), 0) as n
    from (select string_to_array(names, ',') as lanes from unnest(%(lane_sets)s::text[]) names) given
), lane_capacity as materialized (
    select lane, greatest(0, (select min(n) from sets where lane = any (sets.lanes)))::bigint as n,
        (select ceil(sum(slots) * %(reserve)s) from pools where lane = any (pools.lanes))::bigint as reserve
    from unnest(%(lanes)s::text[]) lane where exists (select from pools where lane = any (pools.lanes))
)
"""

# Join that adds the running limit of project `p.name` for `pair.model`. The statement begins with CAPACITY, and defines
# the aliases `p` and `pair`.
RUNNING_LIMIT = """
cross join lateral (
    select l.cap from limits l where l.project in (p.name, '*') and l.model in (pair.model, '*')
    order by l.project = '*', l.model = '*' limit 1) project_limit
"""

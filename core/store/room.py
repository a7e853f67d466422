"""Room for more: what workers have free in each lane, as the beginning of other statements."""

OCCUPIES = "(status = 'in_progress' or (status = 'queued' and rung_at is not null))"

# Takes the parameters `worker_seen_s` and `reserve`. Only live workers count, each without what runs on it.
#   occupied    what runs, and what is rung: it will take a slot of whichever worker hears it
#   pools       workers that serve the same lanes
#   sets        lanes together: what is rung for them must fit into the workers that serve any of them. A worker's
#               slots are so never promised twice, and workers of one lane alone are still made full use of
#   lane_room   what may be rung for a lane, and how much of it over-limit responses leave to others
ROOM = f"""
occupied as materialized (
    select lane, tier, project_id, model, worker_id from responses where {OCCUPIES}
), pools as materialized (
    select w.lanes, sum(w.slots) as slots, sum(greatest(0, w.slots - coalesce(running.n, 0))) as free
    from workers w left join (
        select worker_id, count(*) as n from occupied where worker_id is not null group by worker_id
    ) running on running.worker_id = w.id
    where w.seen_at > now() - %(worker_seen_s)s * interval '1 s'
    group by w.lanes
), served as (
    select lane, row_number() over (order by lane)::int - 1 as bit from (
        select distinct unnest(lanes) as lane from pools) s
), sets as materialized (
    select members.lanes,
        (select sum(free) from pools where pools.lanes && members.lanes)
            - (select count(*) from occupied where worker_id is null and lane = any (members.lanes)) as n
    from (
        select array_agg(served.lane) as lanes
        from generate_series(1, (1 << (select count(*) from served)::int) - 1) mask
        join served on (mask >> served.bit) & 1 = 1
        group by mask
    ) members
), lane_room as materialized (
    select s.lane, (select min(n) from sets where s.lane = any (sets.lanes))::bigint as n,
        (select ceil(sum(slots) * %(reserve)s) from pools where s.lane = any (pools.lanes))::bigint as reserve
    from served s
)
"""

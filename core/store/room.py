"""Room for more: what workers have free in each lane, as the beginning of other statements."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rules:
    """What dispatch goes by, as it is configured.

    Args:
        weights: of tiers.
        caps: what may run at once of a model, over all lanes.
        running: what may run at once of a model in a project, by project's and model's names, either of which may be
            "*"; the most precise pair that is there counts, and None is without limit.
        reserve: the part of a lane's slots that over-limit responses leave free.
        worker_seen_s: how long a worker is taken to be there after it was seen.
        batch: how many are rung for at once, at the most.
    """

    weights: Mapping[str, float]
    caps: Mapping[str, int]
    running: Mapping[tuple[str, str], int | None] = field(default_factory=dict)
    reserve: float = 0.2
    worker_seen_s: float = 15
    batch: int = 200

    @property
    def parameters(self) -> dict[str, Any]:
        """What every statement takes that asks for room."""
        return {
            "limit_projects": [project for project, _ in self.running],
            "limit_models": [model for _, model in self.running],
            "limit_caps": list(self.running.values()),
            "reserve": self.reserve,
            "worker_seen_s": self.worker_seen_s,
        }


# Takes the parameters of `Rules.parameters`. Only live workers count, each without what runs on it.
#   limits      what may run at once of a model in a project; "*" is any
#   occupied    what runs, and what is rung: it will take a slot of whichever worker hears it
#   pools       workers that serve the same lanes
#   expected    what is rung for a lane, no more than its workers could take: the rest takes no slot from other lanes
#   sets        lanes together: what is rung for them must fit into the workers that serve any of them. A worker's
#               slots are so never promised twice, and workers of one lane alone are still made full use of
#   lane_room   what may be rung for a lane, and how much of it over-limit responses leave to others
ROOM = """
limits (project, model, cap) as (
    select * from unnest(%(limit_projects)s::text[], %(limit_models)s::text[], %(limit_caps)s::int[])
), occupied as materialized (
    select lane, tier, project_id, model, worker_id, count(*) as n from responses
    where status = 'in_progress' or (status = 'queued' and rung_at is not null)
    group by lane, tier, project_id, model, worker_id
), pools as materialized (
    select w.lanes, sum(w.slots) as slots, sum(greatest(0, w.slots - coalesce(running.n, 0))) as free
    from workers w left join (
        select worker_id, sum(n) as n from occupied where worker_id is not null group by worker_id
    ) running on running.worker_id = w.id
    where w.seen_at > now() - %(worker_seen_s)s * interval '1 s'
    group by w.lanes
), served as (
    select lane, row_number() over (order by lane)::int - 1 as bit from (
        select distinct unnest(lanes) as lane from pools) s
), expected as materialized (
    select s.lane, least(
        (select coalesce(sum(n), 0) from occupied where worker_id is null and lane = s.lane),
        (select sum(free) from pools where s.lane = any (pools.lanes))) as n
    from served s
), sets as materialized (
    select members.lanes,
        (select sum(free) from pools where pools.lanes && members.lanes)
            - (select sum(n) from expected where lane = any (members.lanes)) as n
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

# The limit of a project `p` for the model of a `pair`, in a statement that begins with ROOM.
LIMIT = """
cross join lateral (
    select l.cap from limits l where l.project in (p.name, '*') and l.model in (pair.model, '*')
    order by l.project = '*', l.model = '*' limit 1) said
"""

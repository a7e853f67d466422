"""Capacity in SQL: what workers have free in each lane, as the first part of other statements.

Dispatch itself computes capacity exactly in `core/dispatch/capacity.py`. Creates and admission decide about a single
lane inside one statement; they use this form of it, which a test compares with the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from core.config.tiers import LANE, Tier


@dataclass(frozen=True)
class Rules:
    """What dispatch goes by, as it is configured.

    Args:
        weights: of tiers.
        caps: what may run at once of a model, over all lanes.
        running: what may run at once of a model in a project, by project's and model's names, either of which may be
            "*"; the most precise pair that is there counts, and None is without limit.
        lanes: those of this configuration: at most one for each tier.
        reserve: the part of a lane's slots that over-limit responses leave free.
        worker_seen_s: how long a worker is taken to be there after it was seen.
    """

    weights: Mapping[str, float]
    caps: Mapping[str, int]
    running: Mapping[tuple[str, str], int | None] = field(default_factory=dict)
    lanes: tuple[str, ...] = (LANE,)
    reserve: float = 0.2
    worker_seen_s: float = 15

    def __post_init__(self) -> None:
        assert len(self.lanes) <= len(Tier)  # `lane_sets` grows as 2 ** lanes

    def running_limit(self, project: str, model: str) -> int | None:
        """How many responses of a model may run at once in a project, both by name; None is without limit."""
        pairs = [(project, model), (project, "*"), ("*", model), ("*", "*")]
        return next((self.running[pair] for pair in pairs if pair in self.running), None)

    @property
    def lane_sets(self) -> list[str]:
        """Every set of lanes, as names joined by commas; an empty name stands for all lanes of other configurations."""
        names = (*self.lanes, "")
        return [",".join(chosen) for size in range(1, len(names) + 1) for chosen in combinations(names, size)]

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of every statement that contains ROOM."""
        return {
            "lanes": list(self.lanes),
            "lane_sets": self.lane_sets,
            "limit_projects": [project for project, _ in self.running],
            "limit_models": [model for _, model in self.running],
            "limit_caps": list(self.running.values()),
            "reserve": self.reserve,
            "worker_seen_s": self.worker_seen_s,
        }


# Takes the parameters of `Rules.parameters`. Only live workers count, each without what runs on it. The sets of lanes
# are a parameter: Postgres would expect a thousand rows of `generate_series`, and estimate all that follows by that.
#   limits      what may run at once of a model in a project; "*" is any
#   occupied    what runs, and what was dispatched: it will take a slot of whichever worker receives it
#   pools       workers that serve the same lanes; lanes of other configurations count as one, named ''
#   expected    what was dispatched to a lane, no more than its workers could take: the rest takes no slot from others
#   sets        lanes together: what is dispatched to them must fit into the workers that serve any of them. So a
#               worker's slots are never promised twice, and workers of one lane alone are still made full use of
#   lane_room   what may be dispatched to a lane, and how much of it over-limit responses leave to others
CAPACITY = """
limits (project, model, cap) as (
    select * from unnest(%(limit_projects)s::text[], %(limit_models)s::text[], %(limit_caps)s::int[])
), occupied as materialized (
    select lane, tier, project_id, model, worker_id, count(*) as n from responses
    where status = 'in_progress' or (status = 'queued' and dispatched_at is not null)
    group by lane, tier, project_id, model, worker_id
), pools as materialized (
    select array(select distinct case when lane = any (%(lanes)s) then lane else '' end from unnest(w.lanes) lane)
            as lanes,
        sum(w.slots) as slots, sum(greatest(0, w.slots - coalesce(running.n, 0))) as free
    from workers w left join (
        select worker_id, sum(n) as n from occupied where worker_id is not null group by worker_id
    ) running on running.worker_id = w.id
    where w.seen_at > now() - %(worker_seen_s)s * interval '1 s'
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
), lane_room as materialized (
    select lane, greatest(0, (select min(n) from sets where lane = any (sets.lanes)))::bigint as n,
        (select ceil(sum(slots) * %(reserve)s) from pools where lane = any (pools.lanes))::bigint as reserve
    from unnest(%(lanes)s::text[]) lane where exists (select from pools where lane = any (pools.lanes))
)
"""

# The limit of a project `p` for the model of a `pair`, in a statement that begins with ROOM.
LIMIT = """
cross join lateral (
    select l.cap from limits l where l.project in (p.name, '*') and l.model in (pair.model, '*')
    order by l.project = '*', l.model = '*' limit 1) said
"""

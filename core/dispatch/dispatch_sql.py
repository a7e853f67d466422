"""SQL of dispatch: fetches capacity and candidates by index and marks the chosen responses. It makes no decisions.

Every statement must be cheap to plan and to run even without statistics. A new database has none until the first run
of autovacuum, and if the estimated cost is far too high (`jit_above_cost`), Postgres JIT-compiles the statement, which
takes longer than the statement timeout.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import TupleRow

from core.database import Connection
from core.dispatch.situation import Candidate, CandidateGroup, Choice, Served
from core.dispatch.snapshot import LiveWorker, Occupied, Snapshot

# Hot: every dispatch runs these statements under the single dispatch lock. The conditions match the partial indexes.
_CONDITIONS = {
    "waiting": "r.status = 'queued' and r.dispatched_at is null",
    "occupying": "(r.status = 'in_progress' or (r.status = 'queued' and r.dispatched_at is not null))",
}

_ANY_WAITING = "select 1 from responses r where {waiting} limit 1"
_ANY_WAITING = _ANY_WAITING.format(**_CONDITIONS)

_SNAPSHOT = """
select
    (select json_agg(json_build_array(lane, tier, project_id, model, worker_id, n)) from (
        select lane, tier, project_id, model, worker_id, count(*) as n from responses r where {occupying}
        group by lane, tier, project_id, model, worker_id) occupied),
    (select json_agg(json_build_array(id, lanes, slots)) from workers
        where seen_at > now() - %(worker_seen_s)s * interval '1 s'),
    (select json_agg(json_build_array(tier, project_id, charged, extract(epoch from had_at))) from fair_shares),
    (select json_agg(json_build_array(model, open_until <= now() and not exists (
        select from responses r where r.id = circuits.probe
            and {occupying}))) from circuits),
    (select json_agg(json_build_array(tier, project_id)) from responses where id = any (%(just_ran)s)),
    extract(epoch from statement_timestamp())
"""
_SNAPSHOT = _SNAPSHOT.format(**_CONDITIONS)

# The first `most` candidates of a group `g`. There are two orders, each with its own index: `flex` is ordered by
# deadline, the other tiers by age.
_FIRST = """
cross join lateral (
    (select r.id, r.background, extract(epoch from r.available_at) as due from responses r
     where g.tier <> 'flex' and r.lane = g.lane and r.tier = g.tier and r.project_id = g.project_id
        and r.model = g.model and {waiting} and r.available_at <= now()
     order by r.background, r.available_at limit %(most)s)
    union all
    (select r.id, r.background, extract(epoch from r.queued_until) as due from responses r
     where g.tier = 'flex' and r.lane = g.lane and r.tier = 'flex' and r.project_id = g.project_id
        and r.model = g.model and {waiting} and r.available_at <= now()
     order by r.background, r.queued_until limit %(most)s)
) w
"""

# All groups of some lanes, found by a loose index scan of the waiting index, with the first candidates of each.
_CANDIDATES = """
with recursive groups as (
    (select first.* from unnest(%(lanes)s::text[]) as l (lane) cross join lateral (
        select r.lane, r.tier, r.project_id, r.model from responses r
        where r.lane = l.lane and {waiting}
        order by r.lane, r.tier, r.project_id, r.model limit 1) first)
    union all
    select next.* from groups g cross join lateral (
        select r.lane, r.tier, r.project_id, r.model from responses r
        where r.lane = g.lane and {waiting}
            and (r.tier, r.project_id, r.model) > (g.tier, g.project_id, g.model)
        order by r.tier, r.project_id, r.model limit 1) next
)
select g.lane, g.tier, g.project_id, g.model, w.background, w.due::double precision, w.id, p.name
from groups g join projects p on p.id = g.project_id {first}
"""

_MORE_CANDIDATES = """
select g.lane, g.tier, g.project_id, g.model, w.background, w.due::double precision, w.id
from unnest(%(lanes)s::text[], %(tiers)s::text[], %(projects)s::text[], %(models)s::text[])
    as g (lane, tier, project_id, model) {first}
"""

_FIRST = _FIRST.format(**_CONDITIONS)
_CANDIDATES = _CANDIDATES.format(first=_FIRST, **_CONDITIONS)
_MORE_CANDIDATES = _MORE_CANDIDATES.format(first=_FIRST)

_MARK = """
with chosen as (
    select r.id from responses r where r.id = any (%(ids)s) and {waiting} order by r.id for no key update
), dispatched as (
    update responses r set dispatched_at = now() from chosen where r.id = chosen.id returning r.id, r.model, r.lane
), probes as (
    update circuits set probe = dispatched.id from dispatched where dispatched.model = circuits.model
), had as (
    insert into fair_shares (tier, project_id, charged, had_at)
    select tier, project_id, charged, statement_timestamp()
    from unnest(%(tiers)s::text[], %(projects)s::text[], %(charges)s::double precision[])
        as noted (tier, project_id, charged)
    order by tier, project_id
    on conflict (tier, project_id) do update
    set charged = greatest(fair_shares.charged, excluded.charged), had_at = excluded.had_at
)
select lane, id from dispatched
"""
_MARK = _MARK.format(**_CONDITIONS)


@dataclass(frozen=True)
class Candidates:
    """Waiting responses by group, each group in dispatch order, and the names of their projects by project ID."""

    by_group: dict[CandidateGroup, list[Candidate]]
    projects: Mapping[str, str]


def any_waiting(connection: Connection) -> bool:
    """Whether any response waits for dispatch. If none does, this query is the entire cost of a dispatch."""
    return connection.execute(_ANY_WAITING).fetchone() is not None


def read_snapshot(connection: Connection, *, worker_seen_s: float, just_ran: Sequence[str]) -> Snapshot:
    """Read the running responses, live workers, last served projects and circuits. The caller holds the dispatch lock.

    Args:
        worker_seen_s: seconds after its last sign of life during which a worker counts as live.
        just_ran: IDs of responses that have just ended.
    """
    row = connection.execute(_SNAPSHOT, {"worker_seen_s": worker_seen_s, "just_ran": list(just_ran)}).fetchone()
    assert row is not None
    occupied, workers, served, circuits, ran, read_at = row
    return Snapshot(
        occupied=[Occupied(CandidateGroup(*group), worker_id, n) for *group, worker_id, n in occupied or ()],
        workers=[LiveWorker(worker_id, frozenset(lanes), slots) for worker_id, lanes, slots in workers or ()],
        last_served={(tier, project_id): Served(charged, at) for tier, project_id, charged, at in served or ()},
        circuits=dict(circuits or ()),
        just_ran={(tier, project_id) for tier, project_id in ran or ()},
        read_at=float(read_at),
    )


def candidates(connection: Connection, lanes: Sequence[str], most: int) -> Candidates:
    """Return the first `most` candidates of every group in the lanes; omit groups in which nothing may run yet."""
    rows = connection.execute(_CANDIDATES, {"lanes": list(lanes), "most": most}).fetchall()
    return Candidates(_grouped([row[:-1] for row in rows]), {row[2]: row[-1] for row in rows})


def more_candidates(
    connection: Connection, groups: Sequence[CandidateGroup], most: int
) -> dict[CandidateGroup, list[Candidate]]:
    """Return the first `most` candidates of each of the groups."""
    lanes, tiers, projects, models = (list(column) for column in zip(*groups, strict=True))
    parameters = {"lanes": lanes, "tiers": tiers, "projects": projects, "models": models, "most": most}
    return _grouped(connection.execute(_MORE_CANDIDATES, parameters).fetchall())


def mark(
    connection: Connection, chosen: Sequence[Choice], served: Mapping[tuple[str, str], float]
) -> dict[str, list[str]]:
    """Mark responses as dispatched, and record which tiers and projects were served.

    Args:
        served: the total charge of the tier, by tier and project; 0 leaves the recorded charge unchanged.

    Returns:
        The IDs, by lane, of the responses that were still waiting and are now marked.
    """
    rows = connection.execute(
        _MARK,
        {
            "ids": [choice.id for choice in chosen],
            "tiers": [tier for tier, _ in served],
            "projects": [project_id for _, project_id in served],
            "charges": list(served.values()),
        },
    )
    marked: dict[str, list[str]] = defaultdict(list)
    for lane, response_id in rows:
        marked[lane].append(response_id)
    return marked


def _grouped(rows: Sequence[TupleRow]) -> dict[CandidateGroup, list[Candidate]]:
    found: dict[CandidateGroup, list[Candidate]] = defaultdict(list)
    for *group, background, due, response_id in rows:
        found[CandidateGroup(*group)].append(Candidate(background, due, response_id))
    return found

"""SQL of dispatch: reads capacity and candidates by index, and marks the chosen responses. It makes no decisions.

Every statement must be cheap to plan and to run even without statistics. A new database has no statistics
until the first run of autovacuum. If the estimated cost is then too high (`jit_above_cost`), Postgres JIT-compiles the
statement, which takes longer than the statement timeout. The SQL is hand-written, because its plan depends on its text.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import TupleRow

from core.database import Connection
from core.dispatch.situation import Candidate, CandidateGroup, Choice, ServiceRecord
from core.dispatch.snapshot import Snapshot
from core.dispatch.snapshot_rows import LiveWorker, Occupancy, OpenCircuit
from core.tables.conditions import is_busy, is_live, is_waiting

# Except for `_HAS_WAITING`, a dispatch runs these statements while it holds the single dispatch lock, so they must be
# fast. The conditions are those of the partial indexes.
_CONDITIONS = {"waiting": is_waiting("r"), "occupying": is_busy("r"), "live": is_live()}

_HAS_WAITING = "select 1 from responses r where {waiting} limit 1"
_HAS_WAITING = _HAS_WAITING.format(**_CONDITIONS)

_READ_SNAPSHOT = """
select
    (select json_agg(json_build_array(lane, tier, project_id, model, worker_id, n)) from (
        select lane, tier, project_id, model, worker_id, count(*) as n from responses r where {occupying}
        group by lane, tier, project_id, model, worker_id) occupied),
    (select json_agg(json_build_array(members, lanes, models)) from (
        select json_agg(json_build_array(id, hostname, pid, slots)) as members, lanes, models from workers
        where {live} group by lanes, models) workers_by_models),
    (select json_agg(json_build_array(tier, project_id, charged, extract(epoch from had_at))) from fair_shares),
    (select json_agg(json_build_array(model, exists (
        select from responses r where r.id = circuits.probe
            and {occupying}), extract(epoch from open_until - now()), failures, cause) order by model) from circuits),
    (select json_agg(json_build_array(tier, project_id)) from responses where id = any (%(ended_ids)s)),
    extract(epoch from statement_timestamp())
"""
_READ_SNAPSHOT = _READ_SNAPSHOT.format(**_CONDITIONS)

# The first candidates of a group `g`. There are two orders, each with its own index: foreground responses come first,
# then `flex` is ordered by deadline, and the other tiers by age.
_GROUP_CANDIDATES = """
cross join lateral (
    (select r.id, r.background, extract(epoch from r.available_at) as due from responses r
     where g.tier <> 'flex' and r.lane = g.lane and r.tier = g.tier and r.project_id = g.project_id
        and r.model = g.model and {waiting} and r.available_at <= now()
     order by r.background, r.available_at limit %(limit)s)
    union all
    (select r.id, r.background, extract(epoch from r.queued_until) as due from responses r
     where g.tier = 'flex' and r.lane = g.lane and r.tier = 'flex' and r.project_id = g.project_id
        and r.model = g.model and {waiting} and r.available_at <= now()
     order by r.background, r.queued_until limit %(limit)s)
) w
"""

# All groups of the given lanes, found by a loose index scan of the waiting index, with the first candidates of each.
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
from groups g join projects p on p.id = g.project_id {group_candidates}
"""

_MORE_CANDIDATES = """
select g.lane, g.tier, g.project_id, g.model, w.background, w.due::double precision, w.id
from unnest(%(lanes)s::text[], %(tiers)s::text[], %(projects)s::text[], %(models)s::text[])
    as g (lane, tier, project_id, model) {group_candidates}
"""

_GROUP_CANDIDATES = _GROUP_CANDIDATES.format(**_CONDITIONS)
_CANDIDATES = _CANDIDATES.format(group_candidates=_GROUP_CANDIDATES, **_CONDITIONS)
_MORE_CANDIDATES = _MORE_CANDIDATES.format(group_candidates=_GROUP_CANDIDATES)

_MARK_DISPATCHED = """
with chosen as (
    select r.id from responses r where r.id = any (%(ids)s) and {waiting} order by r.id for no key update
), dispatched as (
    update responses r set dispatched_at = now() from chosen where r.id = chosen.id returning r.id, r.model, r.lane
), probes as (
    update circuits set probe = dispatched.id from dispatched where dispatched.model = circuits.model
), service_records as (
    insert into fair_shares (tier, project_id, charged, had_at)
    select tier, project_id, charged, statement_timestamp()
    from unnest(%(tiers)s::text[], %(projects)s::text[], %(charges)s::double precision[])
        as charges (tier, project_id, charged)
    order by tier, project_id
    on conflict (tier, project_id) do update
    set charged = greatest(fair_shares.charged, excluded.charged), had_at = excluded.had_at
)
select lane, id from dispatched
"""
_MARK_DISPATCHED = _MARK_DISPATCHED.format(**_CONDITIONS)


@dataclass(frozen=True)
class Candidates:
    """Waiting responses by group, each group in dispatch order, and the names of their projects by project ID."""

    by_group: dict[CandidateGroup, list[Candidate]]
    project_names: Mapping[str, str]


def has_waiting(connection: Connection) -> bool:
    """Whether any response waits for dispatch. If there is none, this query is the entire cost of a dispatch."""
    return connection.execute(_HAS_WAITING).fetchone() is not None


def read_snapshot(connection: Connection, *, worker_seen_s: float, ended_ids: Sequence[str] = ()) -> Snapshot:
    """Read the state from which a dispatch starts. A caller that dispatches holds the dispatch lock.

    Args:
        worker_seen_s: seconds for which a worker is considered live after it has refreshed its registration.
        ended_ids: IDs of responses that have just ended.
    """
    row = connection.execute(_READ_SNAPSHOT, {"worker_seen_s": worker_seen_s, "ended_ids": list(ended_ids)}).fetchone()
    assert row is not None
    occupancies, workers, records, circuits, recent_ends, read_at = row
    return Snapshot(
        occupancies=[
            Occupancy(CandidateGroup(*group), worker_id, count) for *group, worker_id, count in occupancies or ()
        ],
        workers=[
            LiveWorker(worker_id, hostname, pid, frozenset(lanes), slots, models)
            for members, lanes, models in workers or ()
            for worker_id, hostname, pid, slots in members
        ],
        service_records={
            (tier, project_id): ServiceRecord(tier_charge, at) for tier, project_id, tier_charge, at in records or ()
        },
        circuits={model: OpenCircuit(*values) for model, *values in circuits or ()},
        recent_ends={(tier, project_id) for tier, project_id in recent_ends or ()},
        read_at=float(read_at),
    )


def read_candidates(connection: Connection, lanes: Sequence[str], limit: int) -> Candidates:
    """Return up to `limit` candidates of every group in the lanes; omit groups without a response that may run now."""
    rows = connection.execute(_CANDIDATES, {"lanes": list(lanes), "limit": limit}).fetchall()
    project_names = {project_id: project_name for _, _, project_id, *_, project_name in rows}
    return Candidates(_group_rows([row[:-1] for row in rows]), project_names)


def read_more_candidates(
    connection: Connection, groups: Sequence[CandidateGroup], limit: int
) -> dict[CandidateGroup, list[Candidate]]:
    """Return up to `limit` candidates of each of the groups."""
    lanes, tiers, projects, models = (list(column) for column in zip(*groups, strict=True))
    parameters = {"lanes": lanes, "tiers": tiers, "projects": projects, "models": models, "limit": limit}
    return _group_rows(connection.execute(_MORE_CANDIDATES, parameters).fetchall())


def mark_dispatched(
    connection: Connection, choices: Sequence[Choice], tier_charges: Mapping[tuple[str, str], float]
) -> dict[str, list[str]]:
    """Mark responses as dispatched, record them as probes of their models' circuits, and write service records.

    Args:
        tier_charges: by tier and project, the charge of the tier after the project's last turn; 0 if the project had no
            turn, which leaves the recorded charge unchanged.

    Returns:
        The IDs, by lane, of the responses that were still waiting and are now marked.
    """
    rows = connection.execute(
        _MARK_DISPATCHED,
        {
            "ids": [choice.id for choice in choices],
            "tiers": [tier for tier, _ in tier_charges],
            "projects": [project_id for _, project_id in tier_charges],
            "charges": list(tier_charges.values()),
        },
    )
    ids_by_lane: dict[str, list[str]] = defaultdict(list)
    for lane, response_id in rows:
        ids_by_lane[lane].append(response_id)
    return ids_by_lane


def _group_rows(rows: Sequence[TupleRow]) -> dict[CandidateGroup, list[Candidate]]:
    candidates: dict[CandidateGroup, list[Candidate]] = defaultdict(list)
    for *group, background, due, response_id in rows:
        candidates[CandidateGroup(*group)].append(Candidate(background, due, response_id))
    return candidates

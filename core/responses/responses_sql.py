"""Rows of responses as clients see them: accepted, polled."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from core import jsonio
from core.config.tiers import Tier
from core.database import Connection
from core.dispatch.capacity_sql import CAPACITY, LIMIT

_TEXTS = ("request", "document", "events")
# A new response is dispatched at once if its model's circuit is closed, its lane, model and project have room, and
# nothing of its model waits that could run instead: what a project's limit holds back keeps nobody else waiting. The
# conditions come in order of cost, as `case` stops at the first that fails. Of those that meet all, as many are
# dispatched as the lane has room for; where a limit is to be exact, there is only one.
#
# What waits is looked for once for each pair of lane and model, by hopping over tiers and projects in the waiting
# index. A plain `exists` for each row was estimated to read a whole backlog a hundred times once autovacuum had seen
# one, at a cost for which Postgres compiles a statement (`jit_above_cost`).
_INSERT = """
with asked as (
    select * from rows from (json_to_recordset(%(rows)s) as (
        id text, project_id text, background bool, model text, lane text, tier text, run_s float, queue_s float,
        whole_s float, stored bool, follow_s float, metadata jsonb, n int, item_ids text[], concurrency int,
        key_id text, reserved_requests int, reserved_tokens bigint
    ), unnest(%(request)b::text[], %(document)b::text[], %(events)b::text[])) with ordinality
    as a (id, project_id, background, model, lane, tier, run_s, queue_s, whole_s, stored, follow_s, metadata, n,
        item_ids, concurrency, key_id, reserved_requests, reserved_tokens, request, document, events, place)
), {room}, used_up as materialized (
    select p.id as project_id, pair.model from projects p join occupied pair on pair.project_id = p.id {limit}
    where pair.model in (select model from asked)
    group by p.id, pair.model, said.cap having sum(pair.n) >= said.cap
), contended as materialized (
    select pair.* from (
        values {pairs}
    ) as pair (lane, model, over_limit)
    where exists (
        with recursive heads as (
            (select r.tier, r.project_id from responses r
             where r.lane = pair.lane and r.status = 'queued' and r.dispatched_at is null
             order by r.lane, r.tier, r.project_id limit 1)
            union all
            select next.* from heads h cross join lateral (
                select r.tier, r.project_id from responses r
                where r.lane = pair.lane and r.status = 'queued' and r.dispatched_at is null
                    and (r.tier, r.project_id) > (h.tier, h.project_id)
                order by r.tier, r.project_id limit 1) next
        )
        select from heads h
        where (h.tier <> 'over-limit' or pair.over_limit)
            and not exists (select from used_up u where u.project_id = h.project_id and u.model = pair.model)
            and exists (select from responses r
                where r.lane = pair.lane and r.tier = h.tier and r.project_id = h.project_id and r.model = pair.model
                    and r.status = 'queued' and r.dispatched_at is null and r.available_at <= now()))
), able as materialized (
    select a.id, a.lane, a.place, l.n - case a.tier when 'over-limit' then l.reserve else 0 end as room, case
            when not %(dispatchable)s or l.lane is null then false
            when exists (select from circuits where model = a.model) then false
            when a.concurrency is not null
                and (select sum(n) from occupied where model = a.model) >= a.concurrency then false
            when exists (select from used_up u where u.project_id = a.project_id and u.model = a.model) then false
            when exists (select from contended c where c.lane = a.lane and c.model = a.model
                         and c.over_limit = (a.tier = 'over-limit')) then false
            else true
        end as able
    from asked a left join lane_room l using (lane)
), dispatched as (
    select id from (
        select id, room, row_number() over (partition by lane order by place) as lane_rank from able where able) ranked
    where lane_rank <= room
), new as (
    insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by,
                           stored, followed_until, metadata, request, document, key_id, reserved_requests,
                           reserved_tokens, dispatched_at)
    select id, project_id, 'queued', background, model, lane, tier, run_s,
        now() + least(queue_s, whole_s) * interval '1 s', now() + whole_s * interval '1 s',
        stored, now() + follow_s * interval '1 s', metadata, request, document,
        key_id, reserved_requests, reserved_tokens, case when dispatched.id is not null then now() end
    from asked left join dispatched using (id)
    returning id, dispatched_at
), log as (
    insert into response_events (response_id, attempt, first_seq, n, data)
    select id, 0, 0, n, events from asked
), listed as (
    insert into items (project_id, id, response_id)
    select project_id, item_id, id from asked, unnest(item_ids) item_id
    order by project_id, item_id
    on conflict do nothing
)
select id from new where dispatched_at is not null
"""


@cache
def _insert_of(pairs: int) -> str:
    """The insert for rows of so many pairs of lane and model.

    Arrays would do for any number, but Postgres takes a parameter's array to have ten elements. A plan for any
    parameters would be estimated so much dearer than one for the single pair that nearly every call has, that
    Postgres would never keep it, and plan each insert anew for a millisecond.
    """
    values = ", ".join(f"(%(lane_{n})s::text, %(model_{n})s::text, %(over_limit_{n})s::bool)" for n in range(pairs))
    return _INSERT.format(room=CAPACITY, limit=LIMIT, pairs=values)


def insert(connection: Connection, rows: Sequence[Mapping[str, Any]], rules: Mapping[str, Any]) -> set[str]:
    """Write queued responses with their first events; the IDs of those that took a place and may be dispatched now.

    Args:
        rows: one, where its model or project has a limit of what may run at once and the caller holds the lock.

    Raises:
        psycopg.errors.UniqueViolation: an ID is taken. Nothing is written.
    """
    # One text of all that is short: 23 lists cost psycopg more than all else, and had Postgres plan the statement anew
    # each time. What is JSON already, and may be long, is not made JSON again.
    texts = {name: [row[name] for row in rows] for name in _TEXTS}
    short = [{name: value for name, value in row.items() if name not in _TEXTS} for row in rows]
    pairs = sorted({(row["lane"], row["model"], row["tier"] == Tier.OVER_LIMIT) for row in rows})
    values = {
        f"{name}_{n}": value
        for n, pair in enumerate(pairs)
        for name, value in zip(("lane", "model", "over_limit"), pair, strict=True)
    }
    found = connection.execute(
        _insert_of(len(pairs)),
        {"rows": jsonio.dumps(short), **values, **texts, **rules},
    )
    return {str(row[0]) for row in found}


@dataclass(frozen=True)
class Found:
    """A response as its project's clients may see it."""

    id: str
    status: str
    background: bool
    document: str


def find(connection: Connection, project_id: str, response_id: str) -> Found | None:
    """The response as its row has it, or None where the project has no stored one of that ID."""
    return find_each(connection, [(project_id, response_id)]).get((project_id, response_id))


def find_each(connection: Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Found]:
    """Stored responses by project and ID, as their rows have them: of those wanted, the ones that there are."""
    # To psycopg a list costs as much as the statement; no ID has a comma.
    rows = connection.execute(
        "select project_id, id, status, background, document from responses"
        " where id = any(string_to_array(%s, ',')) and project_id = any(string_to_array(%s, ',')) and stored",
        (",".join([response_id for _, response_id in wanted]), ",".join([project_id for project_id, _ in wanted])),
    )
    return {(row[0], row[1]): Found(*row[1:]) for row in rows.fetchall()}


def document(connection: Connection, response_id: str) -> str | None:
    """The document of a response that ended, stored or not; None while it has not, or when it is gone."""
    row = connection.execute(
        "select document from responses where id = %s and finished_at is not null", (response_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def request(connection: Connection, project_id: str, response_id: str) -> str | None:
    """What a stored response was created with, or None."""
    row = connection.execute(
        "select request from responses where id = %s and project_id = %s and stored", (response_id, project_id)
    ).fetchone()
    return None if row is None else str(row[0])


def delete(connection: Connection, response_id: str) -> bool:
    """Delete a response with everything that hangs on it; False if it is gone already."""
    return connection.execute("delete from responses where id = %s", (response_id,)).rowcount == 1


def delete_unstored(connection: Connection, after_s: float, limit: int) -> int:
    """Delete some of the responses that are not stored and ended so long ago; how many."""
    return connection.execute(
        "delete from responses where id in ("
        "select id from responses where not stored and finished_at < now() - %s * interval '1 s'"
        " order by finished_at limit %s for update skip locked)",
        (after_s, limit),
    ).rowcount

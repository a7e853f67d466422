"""SQL of a response from the client's side: insert, poll, delete.

Hand-written, because every create request and every poll runs it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from core import jsonio
from core.config.tiers import Tier
from core.database import Connection
from core.dispatch.capacity_sql import CAPACITY, RUNNING_LIMIT
from core.responses.draft import Draft
from core.tables.conditions import is_waiting, literal
from core.wire.status import Status

_SHORT_COLUMNS = tuple(
    name for name in Draft._fields if name not in {"request", "document", "events", "contents", "content_ids"}
)
# A new response is dispatched immediately if its model's circuit is closed, all live workers of its lane know the
# model, its lane, model and project have capacity, and no waiting response of its model could run instead; waiting
# responses that only their project's limit prevents from running are ignored. The conditions are in order of cost,
# because `case` stops at the first condition that fails. The number of dispatched rows is limited by the capacity of
# the lane; if an exact limit applies, the caller passes a single row.
#
# Waiting responses are searched once for each pair of lane and model, by a loose scan over tiers and projects in the
# index of waiting responses. With a plain `exists` for each row, the planner, once it had statistics of a backlog,
# estimated that the entire backlog would be read a hundred times. At this cost, Postgres JIT-compiles the statement
# (`jit_above_cost`).
_INSERT = """
with request_rows as (
    select * from rows from (json_to_recordset(%(rows)s) as (
        id text, project_id text, background bool, model text, lane text, tier text, run_s float, queue_s float,
        total_s float, stored bool, follow_s float, metadata jsonb, n int, item_ids text[], concurrency int,
        key_id text, reserved_requests int, reserved_tokens bigint, requeued_from text
    ), unnest(%(request)b::text[], %(document)b::text[], %(events)b::text[])) with ordinality
    as a (id, project_id, background, model, lane, tier, run_s, queue_s, total_s, stored, follow_s, metadata, n,
        item_ids, concurrency, key_id, reserved_requests, reserved_tokens, requeued_from, request, document, events,
        ordinal)
), {capacity}, used_up as materialized (
    select p.id as project_id, pair.model from projects p join occupied pair on pair.project_id = p.id {limit}
    where pair.model in (select model from request_rows)
    group by p.id, pair.model, project_limit.cap having sum(pair.n) >= project_limit.cap
), contended as materialized (
    select pair.* from (
        values {pairs}
    ) as pair (lane, model, over_limit)
    where exists (
        with recursive heads as (
            (select r.tier, r.project_id from responses r
             where r.lane = pair.lane and {waiting}
             order by r.lane, r.tier, r.project_id limit 1)
            union all
            select next.* from heads h cross join lateral (
                select r.tier, r.project_id from responses r
                where r.lane = pair.lane and {waiting}
                    and (r.tier, r.project_id) > (h.tier, h.project_id)
                order by r.tier, r.project_id limit 1) next
        )
        select from heads h
        where (h.tier <> 'over-limit' or pair.over_limit)
            and not exists (select from used_up u where u.project_id = h.project_id and u.model = pair.model)
            and exists (select from responses r
                where r.lane = pair.lane and r.tier = h.tier and r.project_id = h.project_id and r.model = pair.model
                    and {waiting} and r.available_at <= now()))
), eligible as materialized (
    select a.id, a.lane, a.ordinal, l.n - case a.tier when 'over-limit' then l.reserve else 0 end as capacity, case
            when not %(dispatchable)s or l.lane is null then false
            when exists (select from circuits where model = a.model) then false
            when exists (select from live w where w.slots > 0 and a.lane = any (w.lanes) and not w.models ? a.model)
                then false
            when a.concurrency is not null
                and (select sum(n) from occupied where model = a.model) >= a.concurrency then false
            when exists (select from used_up u where u.project_id = a.project_id and u.model = a.model) then false
            when exists (select from contended c where c.lane = a.lane and c.model = a.model
                         and c.over_limit = (a.tier = 'over-limit')) then false
            else true
        end as eligible
    from request_rows a left join lane_capacity l using (lane)
), dispatched as (
    select id from (
        select id, capacity, row_number() over (partition by lane order by ordinal) as lane_rank from eligible
        where eligible) ranked
    where lane_rank <= capacity
), new as (
    insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by,
                           stored, followed_until, metadata, request, document, key_id, reserved_requests,
                           reserved_tokens, requeued_from, dispatched_at)
    select id, project_id, {queued}, background, model, lane, tier, run_s,
        now() + least(queue_s, total_s) * interval '1 s', now() + total_s * interval '1 s',
        stored, now() + follow_s * interval '1 s', metadata, request, document,
        key_id, reserved_requests, reserved_tokens, requeued_from, case when dispatched.id is not null then now() end
    from request_rows left join dispatched using (id)
    returning id, dispatched_at
), log as (
    insert into response_events (response_id, attempt, first_seq, n, data)
    select id, 0, 0, n, events from request_rows
), listed as (
    insert into items (project_id, id, response_id)
    select project_id, item_id, id from request_rows, unnest(item_ids) item_id
    order by project_id, item_id
    on conflict do nothing
)
select id from new where dispatched_at is not null
"""


@cache
def _insert_statement(pair_count: int) -> str:
    """Return the INSERT statement for rows with `pair_count` pairs of lane and model, each with the flag `over_limit`.

    Array parameters would work for any number of pairs, but Postgres assumes that an array parameter has ten elements.
    Because nearly every call has a single pair, a custom plan would always appear to be much cheaper than the generic
    plan, and Postgres would plan every INSERT again, which takes a millisecond.
    """
    values = ", ".join(
        f"(%(lane_{n})s::text, %(model_{n})s::text, %(over_limit_{n})s::bool)" for n in range(pair_count)
    )
    return _INSERT.format(
        capacity=CAPACITY, limit=RUNNING_LIMIT, pairs=values, waiting=is_waiting("r"), queued=literal(Status.QUEUED)
    )


def insert(connection: Connection, rows: Sequence[Draft], rules: Mapping[str, Any]) -> set[str]:
    """Insert queued responses with their first events; return the IDs of the dispatched ones.

    Args:
        rows: the rows; a single one if its model or project has a limit on running responses. The caller then holds
            the dispatch lock.
        rules: parameters of the dispatch conditions.

    Raises:
        psycopg.errors.UniqueViolation: an ID exists already. Nothing was written.
    """
    # One JSON parameter contains all short values: an array parameter for each column cost psycopg more than everything
    # else, and made Postgres plan the statement again for each call. Values that are already JSON text are separate
    # parameters, because encoding long texts again would be slow.
    texts = {
        "request": [row.request for row in rows],
        "document": [row.document for row in rows],
        "events": ["\n".join(row.events) for row in rows],
    }
    short_values = [{**{name: getattr(row, name) for name in _SHORT_COLUMNS}, "n": len(row.events)} for row in rows]
    pairs = sorted({(row.lane, row.model, row.tier == Tier.OVER_LIMIT) for row in rows})
    pair_values = {
        f"{name}_{n}": value
        for n, pair in enumerate(pairs)
        for name, value in zip(("lane", "model", "over_limit"), pair, strict=True)
    }
    dispatched_rows = connection.execute(
        _insert_statement(len(pairs)),
        {"rows": jsonio.dumps(short_values), **pair_values, **texts, **rules},
    )
    return {str(row[0]) for row in dispatched_rows}


@dataclass(frozen=True)
class StoredResponse:
    """The row of a stored response, which the clients of its project may read."""

    id: str
    status: str
    background: bool
    document: str


def find(connection: Connection, project_id: str, response_id: str) -> StoredResponse | None:
    """Find a response; None if the project has no stored response with this ID."""
    return find_each(connection, [(project_id, response_id)]).get((project_id, response_id))


def find_each(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], StoredResponse]:
    """Find responses by (project ID, response ID); responses that do not exist or are not stored are omitted."""
    # The IDs are joined to one text, because a list parameter costs psycopg as much as the rest of the statement. No ID
    # contains a comma.
    rows = connection.execute(
        "select project_id, id, status, background, document from responses"
        " where id = any(string_to_array(%s, ',')) and project_id = any(string_to_array(%s, ',')) and stored",
        (",".join([response_id for _, response_id in keys]), ",".join([project_id for project_id, _ in keys])),
    )
    return {(row[0], row[1]): StoredResponse(*row[1:]) for row in rows.fetchall()}


def read_document(connection: Connection, response_id: str) -> str | None:
    """Return the document of an ended response, stored or not; None if it has not ended or does not exist."""
    row = connection.execute(
        "select document from responses where id = %s and finished_at is not null", (response_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def read_request(connection: Connection, project_id: str, response_id: str) -> str | None:
    """Return the packed request of a stored response; None if the project has no such response."""
    row = connection.execute(
        "select request from responses where id = %s and project_id = %s and stored", (response_id, project_id)
    ).fetchone()
    return None if row is None else str(row[0])


def delete(connection: Connection, response_id: str) -> bool:
    """Delete a response and its dependent rows; return False if it does not exist."""
    return connection.execute("delete from responses where id = %s", (response_id,)).rowcount == 1


def delete_unstored(connection: Connection, retention_s: float, limit: int) -> int:
    """Delete at most `limit` unstored responses that ended more than `retention_s` seconds ago; return their number."""
    return connection.execute(
        "delete from responses where id in ("
        "select id from responses where not stored and finished_at < now() - %s * interval '1 s'"
        " order by finished_at limit %s for update skip locked)",
        (retention_s, limit),
    ).rowcount

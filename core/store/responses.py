"""Rows of responses as clients see them: accepted, polled."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from core.db import Connection
from core.store.room import LIMIT, ROOM

# Rung at once where its model's servers are not away, its lane, model and project have room, and nothing waits of its
# model that could be run instead: what a limit of its own holds back keeps nobody else waiting. In order of cost:
# `case` stops at the first that says no.
_INSERT = """
with {room}, used_up as materialized (
    select p.id as project_id from projects p
    join occupied pair on pair.project_id = p.id and pair.model = %(model)s {limit}
    group by p.id, said.cap having sum(pair.n) >= said.cap
), new as (
    insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by,
                           stored, followed_until, metadata, request, document, key_id, reserved_requests,
                           reserved_tokens, rung_at)
    select %(id)s, %(project_id)s, 'queued', %(background)s, %(model)s, %(lane)s, %(tier)s, %(run_s)s,
        now() + least(%(queue_s)s, %(whole_s)s) * interval '1 s', now() + %(whole_s)s * interval '1 s',
        %(stored)s, now() + %(follow_s)s * interval '1 s', %(metadata)s::jsonb, %(request)s, %(document)s,
        %(key_id)s, %(reserved_requests)s, %(reserved_tokens)s,
        case
            when not %(ringable)s then null
            when exists (select from circuits where model = %(model)s) then null
            when not exists (select from lane_room where lane = %(lane)s
                             and n > case %(tier)s::text when 'over-limit' then reserve else 0 end) then null
            when %(concurrency)s::int is not null
                and (select sum(n) from occupied where model = %(model)s) >= %(concurrency)s::int then null
            when exists (select from used_up where project_id = %(project_id)s) then null
            when exists (select from responses where lane = %(lane)s and model = %(model)s
                         and status = 'queued' and rung_at is null and available_at <= now()
                         and (tier <> 'over-limit' or %(tier)s = 'over-limit')
                         and project_id <> all (array(select project_id from used_up))) then null
            else now()
        end
    returning id, rung_at
), log as (
    insert into response_events (response_id, attempt, first_seq, n, data)
    select id, 0, 0, %(n)s, %(events)s from new
), listed as (
    insert into items (project_id, id, response_id)
    select %(project_id)s, item_id, new.id from new, unnest(%(item_ids)s::text[]) as own (item_id)
    order by item_id
    on conflict do nothing
)
select rung_at is not null from new
"""
_INSERT = _INSERT.format(room=ROOM, limit=LIMIT)


def insert(connection: Connection, values: dict[str, Any]) -> bool:
    """Write a queued response with its first events; True if it took a place and may be rung now.

    Raises:
        psycopg.errors.UniqueViolation: the ID is taken. Nothing is written.
    """
    row = connection.execute(_INSERT, values).fetchone()
    assert row is not None
    return bool(row[0])


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

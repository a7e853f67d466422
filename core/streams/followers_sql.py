"""Rows that somebody waits for: foreground responses are kept only as long as somebody does."""

from collections.abc import Collection
from dataclasses import dataclass

from core.database import Connection

_RENEW = """
update responses set followed_until = now() + %s * interval '1 s' where id in (
    select id from responses where id = any (%s) and finished_at is null order by id for no key update {locked})
returning id
"""


def renew(connection: Connection, response_ids: Collection[str], follow_s: float, *, wait: bool = False) -> set[str]:
    """Say that somebody still waits for these responses; the IDs for which it is said now.

    Args:
        wait: for those that somebody has locked, too; else they are left out, as are those that have ended.
    """
    renew = _RENEW.format(locked="" if wait else "skip locked")
    return {str(row[0]) for row in connection.execute(renew, (follow_s, list(response_ids)))}


@dataclass(frozen=True)
class State:
    """How far a response is: whether it has ended, or is gone, and the next free number of its log."""

    ended: bool
    next_seq: int


_STATES = """
select wanted.id, r.id is null or r.finished_at is not null, coalesce(last.next_seq, 0)
from unnest(%s::text[]) as wanted (id)
left join responses r on r.id = wanted.id
left join lateral (
    select first_seq + n as next_seq from response_events where response_id = wanted.id
    order by first_seq desc limit 1
) last on true
"""


def states(connection: Connection, response_ids: Collection[str]) -> dict[str, State]:
    """How far each of the responses is."""
    rows = connection.execute(_STATES, (list(response_ids),))
    return {str(row[0]): State(bool(row[1]), int(row[2])) for row in rows}


def left(connection: Connection, limit: int) -> list[str]:
    """Some of the responses nobody waits for any more, although they were asked for only while somebody does."""
    rows = connection.execute(
        "select id from responses where followed_until < now() and finished_at is null"
        " order by followed_until limit %s for no key update skip locked",
        (limit,),
    )
    return [str(row[0]) for row in rows]


def release(connection: Connection, response_ids: Collection[str]) -> None:
    """Let these responses go on to their end, whoever waits for them."""
    connection.execute(
        "update responses set followed_until = null where id in ("
        "select id from responses where id = any (%s) and finished_at is null"
        " order by id for no key update)",
        (list(response_ids),),
    )

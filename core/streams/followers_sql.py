"""SQL for subscriptions: renews `followed_until`, which keeps foreground responses alive, and reads response states.

Hand-written, because every API process runs it once a second for all its subscriptions.
"""

from collections.abc import Collection
from dataclasses import dataclass

from core.database import Connection

_RENEW = """
update responses set followed_until = now() + %s * interval '1 s' where id in (
    select id from responses where id = any (%s) and finished_at is null order by id for no key update {lock_mode})
returning id
"""


def renew(connection: Connection, response_ids: Collection[str], follow_s: float, *, wait: bool = False) -> set[str]:
    """Set `followed_until` to `follow_s` seconds from now; return the IDs of the renewed responses.

    Responses that have ended are skipped.

    Args:
        wait: whether to wait for locked rows instead of skipping them.
    """
    statement = _RENEW.format(lock_mode="" if wait else "skip locked")
    return {str(row[0]) for row in connection.execute(statement, (follow_s, list(response_ids)))}


@dataclass(frozen=True)
class ResponseState:
    """The state of a response: whether it has ended or is deleted, and the next free sequence number of its log."""

    has_ended: bool
    next_seq: int


_STATES = """
select requested.id, r.id is null or r.finished_at is not null, coalesce(last.next_seq, 0)
from unnest(%s::text[]) as requested (id)
left join responses r on r.id = requested.id
left join lateral (
    select first_seq + n as next_seq from response_events where response_id = requested.id
    order by first_seq desc limit 1
) last on true
"""


def read_states(connection: Connection, response_ids: Collection[str]) -> dict[str, ResponseState]:
    """Return the state of each response."""
    rows = connection.execute(_STATES, (list(response_ids),))
    return {str(row[0]): ResponseState(bool(row[1]), int(row[2])) for row in rows}


def select_orphans(connection: Connection, limit: int, *, excluded_ids: Collection[str] = ()) -> list[str]:
    """Return the IDs of at most `limit` orphans, whose `followed_until` has passed; locked rows are skipped.

    Args:
        excluded_ids: IDs of responses to ignore.
    """
    rows = connection.execute(
        "select id from responses where followed_until < now() and finished_at is null and id <> all (%s)"
        " order by followed_until limit %s for no key update skip locked",
        (list(excluded_ids), limit),
    )
    return [str(row[0]) for row in rows]


def clear_followed_until(connection: Connection, response_ids: Collection[str]) -> None:
    """Make these responses run to their end even if no client waits for them; wait for locked rows."""
    connection.execute(
        "update responses set followed_until = null where id in ("
        "select id from responses where id = any (%s) and finished_at is null"
        " order by id for no key update)",
        (list(response_ids),),
    )

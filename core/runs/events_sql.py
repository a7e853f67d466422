"""SQL of the event log: batches of events, numbered without gaps, one JSON object per line.

Hand-written, because workers append events several times a second, in batches.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.database import Connection
from core.notify.batch import Batch
from core.tables.conditions import has_status
from core.wire.status import Status

# The texts are binary parameters (%b): a text array would be escaped and parsed character by character.
# FOR NO KEY UPDATE prevents a batch and the end of the same response from being written concurrently: the end waits for
# the batch's transaction, and a batch skips a row that is being ended. Rows are locked in ID order, so that writers
# cannot deadlock.
_APPEND = f"""
with batch as (
    select * from unnest(%(ids)s::text[], %(attempts)s::int[], %(firsts)s::int[], %(ns)s::int[], %(data)b::text[],
        %(tokens)s::int[]) as b (response_id, attempt, first_seq, n, data, tokens)
), own as (
    select r.id from responses r join batch b on b.response_id = r.id
    where {has_status(Status.IN_PROGRESS, row="r")} and r.attempt = b.attempt
    order by r.id for no key update of r skip locked
)
insert into response_events (response_id, attempt, first_seq, n, data, tokens)
select b.response_id, b.attempt, b.first_seq, b.n, b.data, b.tokens from batch b join own on own.id = b.response_id
returning response_id
"""


def append(connection: Connection, batches: Sequence[Batch]) -> set[str]:
    """Write batches, at most one per response; return the response IDs of the written batches.

    A batch is skipped if the response is no longer leased to its attempt. It is also skipped if another transaction has
    locked the response: waiting for one row would delay all other batches.
    """
    rows = connection.execute(_APPEND, _array_parameters(batches))
    return {str(row[0]) for row in rows}


_INSERT = """
insert into response_events (response_id, attempt, first_seq, n, data, tokens)
select * from unnest(%(ids)s::text[], %(attempts)s::int[], %(firsts)s::int[], %(ns)s::int[], %(data)b::text[],
    %(tokens)s::int[])
"""


def insert(connection: Connection, batches: Sequence[Batch]) -> None:
    """Write batches of responses that the caller has locked."""
    connection.execute(_INSERT, _array_parameters(batches))


def _array_parameters(batches: Sequence[Batch]) -> dict[str, list[Any]]:
    """Return one array per column, with one element per batch."""
    return {
        "ids": [batch.response_id for batch in batches],
        "attempts": [batch.attempt for batch in batches],
        "firsts": [batch.first_seq for batch in batches],
        "ns": [len(batch.lines) for batch in batches],
        "data": ["\n".join(batch.lines) for batch in batches],
        "tokens": [batch.tokens for batch in batches],
    }


def read_log(connection: Connection, response_id: str) -> list[str]:
    """Return the entire log of a response, in order."""
    return read_logs(connection, [response_id])[response_id]


def read_logs(connection: Connection, response_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the entire logs of several responses, each in order."""
    rows = connection.execute(
        "select response_id, data from response_events where response_id = any (%s) order by response_id, first_seq",
        (list(response_ids),),
    )
    logs: dict[str, list[str]] = {response_id: [] for response_id in response_ids}
    for response_id, data in rows:
        logs[response_id] += data.split("\n")
    return logs


@dataclass(frozen=True)
class LogSection:
    """A consecutive part of a log.

    Args:
        ended: whether the response had ended when the log was read.
        deleted_count: the number of events that were deleted from the log; None if it was not deleted.
        document: the final object as JSON text, if the log was deleted.
    """

    lines: list[str]
    ended: bool
    deleted_count: int | None = None
    document: str | None = None


# The batch that contains sequence number `first` is the last batch that starts at or before it.
_SECTION = """
select r.finished_at is not null as ended, r.events_n, case when r.events_n is not null then r.document end,
    log.first_seq, log.data
from responses r left join lateral (
    select first_seq, data from response_events
    where response_id = r.id and first_seq + n > %(first)s and first_seq >= coalesce((
        select max(first_seq) from response_events where response_id = r.id and first_seq <= %(first)s), 0)
    order by first_seq limit %(batches)s
) log on true
where r.id = %(id)s order by log.first_seq
"""


def read_section(connection: Connection, response_id: str, first_seq: int, max_batches: int) -> LogSection | None:
    """Return at most `max_batches` batches of a log, from `first_seq` on; None if there is no such response."""
    rows = connection.execute(_SECTION, {"id": response_id, "first": first_seq, "batches": max_batches}).fetchall()
    if not rows:
        return None
    lines: list[str] = []
    ended, deleted_count, document = rows[0][:3]
    for _, _, _, batch_first_seq, data in rows:
        if data is not None:
            skipped_count = max(0, first_seq - int(batch_first_seq))
            lines += str(data).split("\n")[skipped_count:]
    return LogSection(lines, bool(ended), deleted_count, document)


# One statement, so that every reader sees either the log or the number of its deleted events, `events_n`.
_DELETE_LOGS = """
with old as (
    select id from responses
    where finished_at is not null and events_n is null and finished_at < now() - %s * interval '1 s'
    order by finished_at limit %s for no key update skip locked
), counted as (
    select old.id, coalesce((select first_seq + n from response_events
        where response_id = old.id order by first_seq desc limit 1), 0) as n from old
), deleted as (
    delete from response_events using old where response_id = old.id
)
update responses set events_n = counted.n from counted where responses.id = counted.id
"""


def delete_logs(connection: Connection, retention_s: float, limit: int) -> int:
    """Delete the logs of at most `limit` responses that ended more than `retention_s` seconds ago.

    The number of deleted events is stored in `events_n`. Rows that another transaction has locked are skipped.

    Returns:
        The number of deleted logs.
    """
    return connection.execute(_DELETE_LOGS, (retention_s, limit)).rowcount


def read_next_seqs(connection: Connection, response_ids: Iterable[str]) -> dict[str, int]:
    """Return the next free sequence number of each log that has events."""
    rows = connection.execute(
        "select response_id, max(first_seq + n) from response_events where response_id = any (%s) group by response_id",
        (list(response_ids),),
    )
    return {str(row[0]): int(row[1]) for row in rows}

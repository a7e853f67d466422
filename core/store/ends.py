"""The rows an end writes: the response's last write, its attempt's, under one lock."""

from dataclasses import dataclass

from psycopg.rows import class_row

from core.db import Connection


@dataclass(frozen=True)
class Locked:
    """A response under lock, as the one who wants to end it finds it."""

    id: str
    project_id: str
    status: str
    background: bool
    stored: bool
    attempt: int
    worker_id: str | None
    document: str
    lease_lost: bool
    overdue: bool
    left: bool  # nobody waits for it any more, though it was asked for only while somebody does
    now: int  # Unix seconds of the database's clock


_LOCK = """
select id, project_id, status, background, stored, attempt, worker_id, document,
    coalesce(lease_until < clock_timestamp(), false) as lease_lost,
    coalesce(case status when 'queued' then queued_until else run_until end < clock_timestamp(), false) as overdue,
    coalesce(followed_until < clock_timestamp(), false) as left,
    extract(epoch from clock_timestamp())::bigint as now
from responses where id = %s for no key update
"""


def lock(connection: Connection, response_id: str) -> Locked | None:
    """The response, locked until the transaction ends; None if there is none."""
    with connection.cursor(row_factory=class_row(Locked)) as cursor:
        cursor.execute(_LOCK, (response_id,))
        return cursor.fetchone()


# What was noted of the last attempt stays where its end knows nothing better.
# The ledger has the attempts' figures from here, not from the table, which shows this statement what was before it.
_FINISH = """
with ended as (
    update responses
    set status = %(status)s, document = %(document)s, finished_at = now(),
        worker_id = null, lease_until = null, run_until = null, rung_at = null
    where id = %(id)s
    returning id, attempt, project_id, key_id, model, tier, status, created_at, reserved_requests, reserved_tokens
), last as (
    update attempts a
    set ended_at = now(), outcome = %(status)s, cause = %(cause)s,
        input_tokens = coalesce(%(input_tokens)s::bigint, a.input_tokens),
        output_tokens = coalesce(%(output_tokens)s::bigint, a.output_tokens),
        cached_tokens = coalesce(%(cached_tokens)s::bigint, a.cached_tokens),
        reasoning_tokens = coalesce(%(reasoning_tokens)s::bigint, a.reasoning_tokens),
        usage_estimated = coalesce(%(usage_estimated)s::boolean, a.usage_estimated)
    from ended where a.response_id = ended.id and a.attempt = ended.attempt and a.ended_at is null
    returning a.*
), runs as (
    select * from last
    union all
    select * from attempts where response_id = %(id)s and attempt not in (select attempt from last)
), used as (
    select count(*) as attempts, coalesce(sum(input_tokens), 0) as input_tokens,
        coalesce(sum(output_tokens), 0) as output_tokens, coalesce(sum(cached_tokens), 0) as cached_tokens,
        coalesce(sum(reasoning_tokens), 0) as reasoning_tokens, coalesce(bool_or(usage_estimated), false) as estimated
    from runs
)
insert into usage_ledger (response_id, project_id, key_id, model, tier, status, created_at, day, attempts,
                          input_tokens, output_tokens, cached_tokens, reasoning_tokens, usage_estimated,
                          reserved_requests, reserved_tokens, charged_tokens)
select e.id, e.project_id, e.key_id, e.model, e.tier, e.status, e.created_at, (now() at time zone 'UTC')::date,
    u.attempts, u.input_tokens, u.output_tokens, u.cached_tokens, u.reasoning_tokens, u.estimated,
    e.reserved_requests, e.reserved_tokens, case when e.reserved_tokens > 0 then e.reserved_tokens end
from ended e, used u
"""


@dataclass(frozen=True)
class Spent:
    """Tokens an attempt used, as the model server said or as we counted."""

    input_tokens: int
    output_tokens: int
    estimated: bool
    cached_tokens: int = 0  # of the input
    reasoning_tokens: int = 0  # of the output


def finish(
    connection: Connection,
    response_id: str,
    *,
    status: str,
    document: str,
    cause: str | None,
    spent: Spent | None,
) -> None:
    """Write the end of a locked response, of its attempt if one is under way, and what all of it used."""
    connection.execute(
        _FINISH,
        {
            "id": response_id,
            "status": status,
            "document": document,
            "cause": cause and cause.replace("\0", ""),  # it may quote a model server, and Postgres takes no NUL
            "input_tokens": spent and spent.input_tokens,
            "output_tokens": spent and spent.output_tokens,
            "cached_tokens": spent and spent.cached_tokens,
            "reasoning_tokens": spent and spent.reasoning_tokens,
            "usage_estimated": spent and spent.estimated,
        },
    )


_NOTE = """
with noted as (
    update attempts
    set input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cached_tokens = %(cached_tokens)s,
        reasoning_tokens = %(reasoning_tokens)s, usage_estimated = %(estimated)s
    where response_id = %(id)s and attempt = %(attempt)s and output_tokens is null
    returning 1
)
update usage_ledger
set input_tokens = input_tokens + %(input_tokens)s, output_tokens = output_tokens + %(output_tokens)s,
    cached_tokens = cached_tokens + %(cached_tokens)s, reasoning_tokens = reasoning_tokens + %(reasoning_tokens)s,
    usage_estimated = usage_estimated or %(estimated)s
where response_id = %(id)s and (exists (select from noted) or not %(there)s)
"""


def note_usage(connection: Connection, response_id: str, attempt: int, spent: Spent) -> None:
    """Add to an attempt that somebody else ended what its worker knows of its usage, and to the ledger if it is there.

    Within a transaction: the response is locked, so that its end sums up what is noted before, and is added to after.
    """
    there = connection.execute("select 1 from responses where id = %s for no key update", (response_id,)).fetchone()
    connection.execute(
        _NOTE,
        {
            "id": response_id,
            "attempt": attempt,
            "there": there is not None,  # one that was deleted since has nothing left but its row of the ledger
            "input_tokens": spent.input_tokens,
            "output_tokens": spent.output_tokens,
            "cached_tokens": spent.cached_tokens,
            "reasoning_tokens": spent.reasoning_tokens,
            "estimated": spent.estimated,
        },
    )

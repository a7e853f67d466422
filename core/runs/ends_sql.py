"""SQL that ends responses: lock their rows, then write responses, attempts and usage ledger.

Hand-written, because it runs once for every response, in batches.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection
from core.tables.conditions import deadline


@dataclass(frozen=True)
class LockedResponse:
    """A response that this transaction has locked, in its state before the end."""

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
    is_orphan: bool  # `followed_until` of a foreground response has passed: no client waits for it any more
    now: int  # Unix time in seconds, by the database's clock


_LOCK = f"""
select id, project_id, status, background, stored, attempt, worker_id, document,
    coalesce(lease_until < clock_timestamp(), false) as lease_lost,
    coalesce({deadline()} < clock_timestamp(), false) as overdue,
    coalesce(followed_until < clock_timestamp(), false) as is_orphan,
    extract(epoch from clock_timestamp())::bigint as now
from responses where id = any (%s) order by id for no key update
"""


def lock(connection: Connection, response_id: str) -> LockedResponse | None:
    """Lock a response until the transaction ends; wait if it is locked. Return None if it does not exist."""
    with connection.cursor(row_factory=class_row(LockedResponse)) as cursor:
        cursor.execute(_LOCK, ([response_id],))
        return cursor.fetchone()


def lock_without_waiting(connection: Connection, response_ids: Collection[str]) -> list[LockedResponse]:
    """Lock the responses that no other transaction has locked, until the transaction ends; skip the others."""
    with connection.cursor(row_factory=class_row(LockedResponse)) as cursor:
        cursor.execute(f"{_LOCK} skip locked", (list(response_ids),))
        return cursor.fetchall()


# If the end has no usage, the usage recorded for the last attempt remains (`coalesce`). The ledger's sums take the last
# attempt from `last`, because the statement's snapshot shows the table `attempts` before the update.
_WRITE_ENDS = """
with given as (
    select * from unnest(%(ids)s::text[], %(statuses)s::text[], %(documents)b::text[], %(causes)s::text[],
        %(input_tokens)s::bigint[], %(output_tokens)s::bigint[], %(cached_tokens)s::bigint[],
        %(reasoning_tokens)s::bigint[], %(estimated)s::boolean[])
    as g (id, outcome, text, cause, input_tokens, output_tokens, cached_tokens, reasoning_tokens, usage_estimated)
), ended as (
    update responses r
    set status = g.outcome, document = g.text, finished_at = now(),
        worker_id = null, lease_until = null, run_until = null, dispatched_at = null
    from given g where r.id = g.id
    returning r.id, r.attempt, project_id, key_id, model, tier, status, created_at, reserved_requests, reserved_tokens
), last as (
    update attempts a
    set ended_at = now(), outcome = g.outcome, cause = g.cause,
        input_tokens = coalesce(g.input_tokens, a.input_tokens),
        output_tokens = coalesce(g.output_tokens, a.output_tokens),
        cached_tokens = coalesce(g.cached_tokens, a.cached_tokens),
        reasoning_tokens = coalesce(g.reasoning_tokens, a.reasoning_tokens),
        usage_estimated = coalesce(g.usage_estimated, a.usage_estimated)
    from ended join given g using (id)
    where a.response_id = ended.id and a.attempt = ended.attempt and a.ended_at is null
    returning a.*
), runs as (
    select * from last
    union all
    select * from attempts
    where response_id = any (%(ids)s) and (response_id, attempt) not in (select response_id, attempt from last)
), used as (
    select response_id as id, count(*) as attempts, sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens, sum(cached_tokens) as cached_tokens,
        sum(reasoning_tokens) as reasoning_tokens, bool_or(usage_estimated) as estimated
    from runs group by response_id
)
insert into usage_ledger (response_id, project_id, key_id, model, tier, status, created_at, day, attempts,
                          input_tokens, output_tokens, cached_tokens, reasoning_tokens, usage_estimated,
                          reserved_requests, reserved_tokens, charged_tokens)
select id, e.project_id, e.key_id, e.model, e.tier, e.status, e.created_at, (now() at time zone 'UTC')::date,
    coalesce(u.attempts, 0), coalesce(u.input_tokens, 0), coalesce(u.output_tokens, 0), coalesce(u.cached_tokens, 0),
    coalesce(u.reasoning_tokens, 0), coalesce(u.estimated, false),
    e.reserved_requests, e.reserved_tokens, case when e.reserved_tokens > 0 then e.reserved_tokens end
from ended e left join used u using (id)
"""


@dataclass(frozen=True)
class AttemptUsage:
    """The tokens that an attempt used, as reported by the model server or as estimated by the worker."""

    input_tokens: int
    output_tokens: int
    estimated: bool
    cached_tokens: int = 0  # part of `input_tokens`
    reasoning_tokens: int = 0  # part of `output_tokens`


@dataclass(frozen=True)
class End:
    """The end of a locked response.

    Args:
        document: the final document as JSON text.
        attempt_usage: the usage of the current attempt, if there is one.
    """

    response_id: str
    status: str
    document: str
    cause: str | None
    attempt_usage: AttemptUsage | None


def write_ends(connection: Connection, ends: Sequence[End]) -> None:
    """Write the ends of locked responses and of their current attempts, and one ledger row for each response."""
    usages = [end.attempt_usage for end in ends]
    connection.execute(
        _WRITE_ENDS,
        {
            "ids": [end.response_id for end in ends],
            "statuses": [end.status for end in ends],
            "documents": [end.document for end in ends],
            # A cause may quote a model server, and Postgres rejects NUL in text.
            "causes": [end.cause and end.cause.replace("\0", "") for end in ends],
            "input_tokens": [usage and usage.input_tokens for usage in usages],
            "output_tokens": [usage and usage.output_tokens for usage in usages],
            "cached_tokens": [usage and usage.cached_tokens for usage in usages],
            "reasoning_tokens": [usage and usage.reasoning_tokens for usage in usages],
            "estimated": [usage and usage.estimated for usage in usages],
        },
    )


_RECORD_USAGE = """
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
where response_id = %(id)s and (exists (select from noted) or not %(exists)s)
"""


def record_usage(connection: Connection, response_id: str, attempt: int, attempt_usage: AttemptUsage) -> None:
    """Record the usage of an attempt that another process ended, and add it to the response's ledger row, if any.

    The connection must be in a transaction. This function locks the response: if it has not ended, the end includes the
    usage in the sums that it writes to the ledger; otherwise this function adds the usage to the ledger.
    """
    row = connection.execute("select 1 from responses where id = %s for no key update", (response_id,)).fetchone()
    connection.execute(
        _RECORD_USAGE,
        {
            "id": response_id,
            "attempt": attempt,
            "exists": row is not None,  # if the response was deleted, only its ledger row remains
            "input_tokens": attempt_usage.input_tokens,
            "output_tokens": attempt_usage.output_tokens,
            "cached_tokens": attempt_usage.cached_tokens,
            "reasoning_tokens": attempt_usage.reasoning_tokens,
            "estimated": attempt_usage.estimated,
        },
    )

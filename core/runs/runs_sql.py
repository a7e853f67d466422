"""SQL that changes the state of responses before their end: claim, renew and requeue them, and select expired ones.

Hand-written, because every attempt runs it, and renewals run every few seconds.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from core.database import Connection
from core.tables.conditions import deadline, has_status, is_dispatched, literal, may_become
from core.wire.status import Status


@dataclass(frozen=True)
class ClaimedResponse:
    """A response that a claim has assigned to a worker."""

    id: str
    project_id: str
    attempt: int
    model: str
    background: bool
    request: str
    document: str
    waits: int
    probe: bool  # whether it is the probe of its model's circuit
    remaining_s: float  # seconds until `run_until`
    next_seq: int
    tokens: int  # output tokens in the log


# `dispatched_at is not null`: a Celery message from before the response was requeued must not bypass dispatch.
# `available_at <= now()` also rejects a claim that started before the requeue and waited for the row's lock while
# another attempt ran: its snapshot of the log is older, so `next_seq` would be wrong. This requires `now()`, the
# start of the transaction, instead of `clock_timestamp()`.
_CLAIM = f"""
with free as (
    select id from responses
    where id = any (%(ids)s) and {is_dispatched()}
        and available_at <= now() and (queued_until > now()) is true
    order by id for no key update {{lock_mode}}
), claimed as (
    update responses r
    set status = {literal(Status.IN_PROGRESS)}, attempt = attempt + 1, worker_id = %(worker_id)s, dispatched_at = null,
        lease_until = now() + %(lease_s)s * interval '1 s', started_at = coalesce(started_at, now()),
        run_until = least(ends_by, now() + run_s * interval '1 s')
    from free where r.id = free.id
    returning r.id, project_id, attempt, model, background, request, document, waits,
        extract(epoch from run_until - now())::double precision as remaining_s
), new_attempts as (
    insert into attempts (response_id, attempt, worker_id) select id, attempt, %(worker_id)s from claimed
)
select claimed.*, coalesce((select probe = claimed.id from circuits where model = claimed.model), false) as probe, log.*
from claimed cross join lateral (
    select coalesce(max(first_seq + n), 0) as next_seq, coalesce(sum(tokens), 0)::int as tokens
    from response_events where response_id = claimed.id) log
"""


def claim(connection: Connection, response_id: str, worker_id: str, lease_s: float) -> ClaimedResponse | None:
    """Claim a dispatched response for a new attempt; wait if it is locked. Return None if it cannot be claimed."""
    rows = _claim(connection, [response_id], worker_id, lease_s, "")
    return rows[0] if rows else None


def claim_unlocked(
    connection: Connection, response_ids: Collection[str], worker_id: str, lease_s: float
) -> list[ClaimedResponse]:
    """Claim the responses that can be claimed and are not locked, each for a new attempt; skip the others."""
    return _claim(connection, response_ids, worker_id, lease_s, "skip locked")


def _claim(
    connection: Connection, response_ids: Collection[str], worker_id: str, lease_s: float, lock_mode: str
) -> list[ClaimedResponse]:
    with connection.cursor(row_factory=class_row(ClaimedResponse)) as cursor:
        parameters = {"ids": list(response_ids), "worker_id": worker_id, "lease_s": lease_s}
        cursor.execute(_CLAIM.format(lock_mode=lock_mode), parameters)
        return cursor.fetchall()


_RENEW = f"""
with leased as (
    select r.id from responses r
    join unnest(%(ids)s::text[], %(attempts)s::int[]) as h (id, attempt) on h.id = r.id and h.attempt = r.attempt
    where {has_status(Status.IN_PROGRESS, row="r")} and r.run_until > now()
    order by r.id for no key update of r skip locked
)
update responses set lease_until = now() + %(lease_s)s * interval '1 s' from leased where responses.id = leased.id
returning responses.id
"""


def renew(connection: Connection, attempt_keys: Sequence[tuple[str, int]], lease_s: float) -> set[str]:
    """Renew the leases of attempts, given as (response ID, attempt); return the IDs of the responses with a new lease.

    Attempts past `run_until` are skipped. Locked rows are skipped too: while the statement waited for one row, the
    leases of the others could expire.
    """
    rows = connection.execute(
        _RENEW,
        {**_key_arrays(attempt_keys), "lease_s": lease_s},
    )
    return {str(row[0]) for row in rows}


_SELECT_LEASED = f"""
select r.id from responses r
join unnest(%(ids)s::text[], %(attempts)s::int[]) as h (id, attempt) on h.id = r.id and h.attempt = r.attempt
where {has_status(Status.IN_PROGRESS, row="r")} and r.run_until > now()
"""


def select_leased(connection: Connection, attempt_keys: Sequence[tuple[str, int]]) -> set[str]:
    """Return the IDs of the responses that, by committed data, are still leased to the attempts; take no locks."""
    rows = connection.execute(_SELECT_LEASED, _key_arrays(attempt_keys))
    return {str(row[0]) for row in rows}


def _key_arrays(attempt_keys: Sequence[tuple[str, int]]) -> dict[str, list[str] | list[int]]:
    return {
        "ids": [response_id for response_id, _ in attempt_keys],
        "attempts": [attempt for _, attempt in attempt_keys],
    }


# After a response has run, only `ends_by` limits its time in the queue. A response that waits for its model server has
# not run, so its `queued_until` does not change: the wait must not extend this deadline.
_REQUEUE = f"""
with requeued as (
    update responses
    set status = {literal(Status.QUEUED)}, worker_id = null, lease_until = null, run_until = null, dispatched_at = null,
        available_at = now() + %(delay_s)s * interval '1 s',
        failures = failures + (%(outcome)s = 'lost')::int, waits = waits + (%(outcome)s = 'waited')::int,
        queued_until = case when %(outcome)s = 'waited' then queued_until
            else ends_by end
    where id = %(id)s and attempt = %(attempt)s and {may_become(Status.QUEUED)}
        and (%(outcome)s <> 'lost' or lease_until < clock_timestamp())
    returning id, attempt
), ended_attempts as (
    update attempts a set ended_at = now(), outcome = %(outcome)s, cause = %(cause)s,
        error_code = %(error_code)s
    from requeued where a.response_id = requeued.id and a.attempt = requeued.attempt
)
select 1 from requeued
"""


def requeue(
    connection: Connection,
    response_id: str,
    attempt: int,
    *,
    outcome: str,
    cause: str,
    delay_s: float,
    error_code: str | None = None,
) -> bool:
    """Put a running response back in the queue, due after `delay_s`; return False if it is not leased to the attempt.

    Args:
        outcome: the outcome of the attempt: `handed_back`, `waited` (for the model server), or `lost`, which requires
            an expired lease and increments `failures`.
        error_code: the API's error code for the response if its deadline passes because of `cause`.
    """
    parameters = {
        "id": response_id,
        "attempt": attempt,
        "outcome": outcome,
        "cause": cause.replace("\0", ""),  # a cause may quote a model server, and Postgres rejects NUL in text
        "error_code": error_code,
        "delay_s": delay_s,
    }
    return connection.execute(_REQUEUE, parameters).fetchone() is not None


def record_dropped_items(connection: Connection, response_id: str, attempt: int, item_ids: Sequence[str]) -> None:
    """Record in an attempt the IDs of the items that truncation omitted, oldest first."""
    connection.execute(
        "update attempts set dropped = %s where response_id = %s and attempt = %s",
        ([item_id.replace("\0", "") for item_id in item_ids], response_id, attempt),
    )


@dataclass(frozen=True)
class ExpiredResponse:
    """A response with an expired lease, or past its deadline."""

    id: str
    lane: str
    model: str
    attempt: int
    status: str
    failures: int
    overdue: bool
    cause: str | None  # the cause of its last attempt, or that of its model's circuit if it waited for the circuit
    error_code: str | None
    unavailable: bool  # whether `cause` is that of the model's circuit, not of the last attempt


_SELECT_EXPIRED = f"""
with lost as (
    select id from responses where {has_status(Status.IN_PROGRESS)} and (lease_until < now() or run_until < now())
        and id <> all (%(excluded_ids)s)
    limit %(limit)s for no key update skip locked
), late as (
    select id from responses where {has_status(Status.QUEUED)} and queued_until > '-infinity' and queued_until < now()
        and id <> all (%(excluded_ids)s)
    order by queued_until limit %(limit)s for no key update skip locked
), candidates as (
    select id from lost union all select id from late
)
select r.id, r.lane, r.model, r.attempt, r.status, r.failures,
    ({deadline("r")}) < now() as overdue,
    case when unavailable then c.cause else last.cause end as cause,
    case when unavailable then c.error_code else last.error_code end as error_code, unavailable
from candidates join responses r using (id)
left join attempts last on last.response_id = r.id and last.attempt = r.attempt
left join circuits c on c.model = r.model
cross join lateral (select c.model is not null and last.outcome is distinct from 'waited' as unavailable) why
"""


def select_expired(connection: Connection, limit: int, *, excluded_ids: Collection[str] = ()) -> list[ExpiredResponse]:
    """Return responses with an expired lease, or past their deadline; skip locked rows.

    Args:
        limit: maximum number of running and, separately, of queued responses.
        excluded_ids: IDs of responses to ignore.
    """
    with connection.cursor(row_factory=class_row(ExpiredResponse)) as cursor:
        cursor.execute(_SELECT_EXPIRED, {"limit": limit, "excluded_ids": list(excluded_ids)})
        return cursor.fetchall()

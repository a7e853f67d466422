"""Protect all data of ended responses: their rows, their events and their usage.

Lock: `responses`, `response_events` and `usage_ledger`, for an instant each; it waits for running transactions. Deploy:
before the code. Programs of earlier revisions cannot run on it: they cannot read large fields that are stored as
contents. Size: no effect.

A trigger's condition is evaluated without calling its function, and triggers for columns fire only if a statement sets
one of them, so that claims, renewals, batches of events and the deletion of events cost nothing.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# Every column except those that a program changes after the end: `events_n`, `followed_until` and `stored`.
RESPONSES_GUARD = """
create or replace function responses_guard() returns trigger language plpgsql as $$
declare
    allowed responses := old;
begin
    allowed.events_n := new.events_n;
    allowed.followed_until := new.followed_until;
    allowed.stored := new.stored;
    if new is distinct from allowed then
        raise exception 'response % is % and cannot change', old.id, old.status using errcode = '23514';
    end if;
    return new;
end $$;
drop trigger responses_guard on responses;
create trigger responses_guard before update of
    id, project_id, key_id, status, background, model, lane, tier, attempt, failures, waits, worker_id, lease_until,
    run_s, run_until, queued_until, ends_by, available_at, dispatched_at, metadata, request, document,
    reserved_requests, reserved_tokens, requeued_from, created_at, started_at, finished_at
    on responses for each row when (old.finished_at is not null) execute function responses_guard();
create function responses_attempt_guard() returns trigger language plpgsql as $$
begin
    raise exception 'attempt of response % would go back', old.id using errcode = '23514';
end $$;
create trigger responses_attempt_guard before update of attempt on responses
    for each row when (new.attempt < old.attempt) execute function responses_attempt_guard();
"""

# Called once per statement instead of once per row; therefore even a statement that changes no row is rejected.
EVENTS_GUARD = """
create function response_events_guard() returns trigger language plpgsql as $$
begin
    raise exception 'events cannot change' using errcode = '23514';
end $$;
create trigger response_events_guard before update on response_events
    for each statement execute function response_events_guard();
"""

# Allowed after the end: more tokens, if a worker records its usage late, and the settlement of the charged tokens.
LEDGER_GUARD = """
create function usage_ledger_guard() returns trigger language plpgsql as $$
begin
    raise exception 'usage of response % cannot change', old.response_id using errcode = '23514';
end $$;
create trigger usage_ledger_guard before update on usage_ledger for each row when (
    (new.response_id, new.project_id, new.key_id, new.model, new.tier, new.status, new.created_at, new.ended_at,
     new.day, new.attempts, new.reserved_requests, new.reserved_tokens)
        is distinct from
    (old.response_id, old.project_id, old.key_id, old.model, old.tier, old.status, old.created_at, old.ended_at,
     old.day, old.attempts, old.reserved_requests, old.reserved_tokens)
    or new.input_tokens < old.input_tokens or new.output_tokens < old.output_tokens
    or new.cached_tokens < old.cached_tokens or new.reasoning_tokens < old.reasoning_tokens
    or (old.usage_estimated and not new.usage_estimated)
    or (new.charged_tokens is null) <> (old.charged_tokens is null)
) execute function usage_ledger_guard();
"""

PREVIOUS_RESPONSES_GUARD = """
create or replace function responses_guard() returns trigger language plpgsql as $$
begin
    if old.status in ('completed', 'incomplete', 'failed', 'cancelled')
       and (new.status, new.request, new.document, new.finished_at, new.attempt)
           is distinct from (old.status, old.request, old.document, old.finished_at, old.attempt) then
        raise exception 'response % is % and cannot change', old.id, old.status using errcode = '23514';
    end if;
    if new.attempt < old.attempt then
        raise exception 'attempt of response % would go back', old.id using errcode = '23514';
    end if;
    return new;
end $$;
drop trigger responses_guard on responses;
create trigger responses_guard before update on responses for each row execute function responses_guard();
"""


def upgrade() -> None:
    for statements in (RESPONSES_GUARD, EVENTS_GUARD, LEDGER_GUARD):
        op.execute(statements)
    # Programs of earlier revisions cannot read the large fields that programs of this revision store as contents.
    op.execute("update schema_range set oldest_program = '0004'")


def downgrade() -> None:
    op.execute("update schema_range set oldest_program = '0002'")
    op.execute("drop trigger usage_ledger_guard on usage_ledger; drop function usage_ledger_guard()")
    op.execute("drop trigger response_events_guard on response_events; drop function response_events_guard()")
    op.execute("drop trigger responses_attempt_guard on responses; drop function responses_attempt_guard()")
    op.execute(PREVIOUS_RESPONSES_GUARD)

"""Create projects, keys, responses with their events and attempts, and workers.

Lock: none (new tables). Deploy: before the code that reads them. Size: empty.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
create table projects (
    id text primary key,
    name text not null unique,
    created_at timestamptz not null default now()
);
create table api_keys (
    id text primary key,
    project_id text not null references projects (id),
    hash bytea not null unique,
    hint text not null,
    rights text[] not null default '{}',
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
create table responses (
    id text primary key,
    project_id text not null references projects (id),
    status text not null,
    background boolean not null,
    model text not null,
    lane text not null,
    tier text not null,
    attempt integer not null default 0,
    failures integer not null default 0,
    waits integer not null default 0,
    worker_id text,
    lease_until timestamptz,
    run_s double precision not null,
    run_until timestamptz,
    queued_until timestamptz not null,
    ends_by timestamptz not null,
    available_at timestamptz not null default now(),
    dispatched_at timestamptz,
    request text not null,
    document text not null,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    constraint responses_status_check check (
        status in ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    constraint responses_finished_check check (
        (finished_at is not null) = (status in ('completed', 'incomplete', 'failed', 'cancelled'))),
    constraint responses_leased_check check (
        (status = 'in_progress') = (lease_until is not null)
        and (lease_until is null) = (run_until is null) and (lease_until is null) = (worker_id is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
create index responses_waiting_idx on responses (lane, tier, project_id, model, background, available_at)
    where status = 'queued' and dispatched_at is null;
create index responses_busy_idx on responses (lane, tier, project_id, model)
    where status = 'in_progress' or (status = 'queued' and dispatched_at is not null);
create index responses_running_idx on responses (id) where status = 'in_progress';
create index responses_rung_idx on responses (id) where status = 'queued' and dispatched_at is not null;
create index responses_queued_until_idx on responses (queued_until)
    where status = 'queued' and queued_until > '-infinity';
create table response_events (
    response_id text not null references responses (id) on delete cascade,
    first_seq integer not null,
    n integer not null,
    attempt integer not null,
    data text not null,
    primary key (response_id, first_seq)
);
create table attempts (
    response_id text not null references responses (id) on delete cascade,
    attempt integer not null,
    worker_id text not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    outcome text,
    cause text,
    error_code text,
    input_tokens bigint,
    output_tokens bigint,
    usage_estimated boolean,
    primary key (response_id, attempt)
);
create table workers (
    id text primary key,
    hostname text not null,
    pid integer not null,
    lanes text[] not null,
    slots integer not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
"""

# Even a hand-written UPDATE or a bug of ours cannot end a response twice or let an old attempt write.
GUARD = """
create function responses_guard() returns trigger language plpgsql as $$
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
create trigger responses_guard before update on responses for each row execute function responses_guard();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GUARD)


def downgrade() -> None:
    op.execute("drop table workers, attempts, response_events, responses, api_keys, projects")
    op.execute("drop function responses_guard()")

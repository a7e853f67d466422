"""Create the schema.

Lock: none (new tables). Deploy: before the code that reads them. Size: empty.
"""

from alembic import op

revision = "0001"
down_revision = None

PROJECT_TABLES = """
create table projects (
    id text primary key,
    name text not null unique,
    created_at timestamptz not null default now()
);
create table api_keys (
    id text primary key,
    project_id text not null references projects (id),
    name text,
    hash bytea not null unique,
    hint text not null,
    rights text[] not null default '{}',
    created_at timestamptz not null default now(),
    rotated_at timestamptz,
    revoked_at timestamptz
);
create table api_key_projects (
    key_id text not null references api_keys (id) on delete cascade,
    project_id text not null references projects (id),
    primary key (key_id, project_id)
);
create index api_key_projects_project_id_idx on api_key_projects (project_id);
create table audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    os_user text,
    action text not null,
    object_id text not null,
    project_id text references projects (id),
    request_id text,
    details jsonb not null default '{}'
);
create index audit_log_at_idx on audit_log (at);
create index audit_log_project_id_at_idx on audit_log (project_id, at);
create table prompts (
    id text primary key,
    project_id text not null references projects (id),
    name text not null,
    description text,
    default_version integer not null,
    created_at timestamptz not null default now(),
    unique (project_id, name)
);
create table prompt_versions (
    prompt_id text not null references prompts (id) on delete cascade,
    version integer not null,
    template text not null,
    created_at timestamptz not null default now(),
    primary key (prompt_id, version)
);
create table usage_ledger (
    response_id text primary key,
    project_id text not null,
    key_id text,
    model text not null,
    tier text not null,
    status text not null,
    created_at timestamptz not null,
    ended_at timestamptz not null default now(),
    day date not null,
    attempts integer not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    cached_tokens bigint not null,
    reasoning_tokens bigint not null,
    usage_estimated boolean not null,
    reserved_requests integer not null,
    reserved_tokens bigint not null,
    charged_tokens bigint
);
create index usage_ledger_project_id_model_created_at_idx on usage_ledger (project_id, model, created_at);
create index usage_ledger_day_idx on usage_ledger using brin (day);
create index usage_ledger_unsettled_idx on usage_ledger (response_id)
    where charged_tokens <> input_tokens + output_tokens;
"""

RESPONSE_TABLES = """
create table responses (
    id text primary key,
    project_id text not null references projects (id),
    key_id text,
    status text not null,
    background boolean not null,
    stored boolean not null default true,
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
    followed_until timestamptz,
    available_at timestamptz not null default now(),
    dispatched_at timestamptz,
    metadata jsonb not null default '{}',
    request text not null,
    document text not null,
    reserved_requests integer not null default 0,
    reserved_tokens bigint not null default 0,
    requeued_from text,
    events_n integer,
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
create index responses_due_idx on responses (lane, project_id, model, background, queued_until)
    where status = 'queued' and dispatched_at is null and tier = 'flex';
create index responses_busy_idx on responses (lane, tier, project_id, model) include (worker_id)
    where status = 'in_progress' or (status = 'queued' and dispatched_at is not null);
create index responses_running_idx on responses (id) where status = 'in_progress';
create index responses_dispatched_idx on responses (id) where status = 'queued' and dispatched_at is not null;
create index responses_queued_until_idx on responses (queued_until)
    where status = 'queued' and queued_until > '-infinity';
create index responses_followed_until_idx on responses (followed_until)
    where followed_until is not null and finished_at is null;
create index responses_unfinished_idx on responses (project_id, model, created_at) where finished_at is null;
create index responses_unstored_idx on responses (finished_at) where not stored;
create index responses_unpruned_idx on responses (finished_at) where finished_at is not null and events_n is null;
create index responses_listed_idx on responses (project_id, created_at, id) where stored;
create index responses_metadata_idx on responses using gin (metadata jsonb_path_ops);
create index responses_requeued_from_idx on responses (requeued_from) where requeued_from is not null;
create table response_events (
    response_id text not null references responses (id) on delete cascade,
    first_seq integer not null,
    n integer not null,
    attempt integer not null,
    data text not null,
    tokens integer not null default 0,
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
    cached_tokens bigint,
    reasoning_tokens bigint,
    usage_estimated boolean,
    dropped text[],
    primary key (response_id, attempt)
);
create table items (
    project_id text not null,
    id text not null,
    response_id text not null references responses (id) on delete cascade,
    primary key (project_id, id, response_id)
);
create index items_response_id_idx on items (response_id);
create table contents (
    project_id text not null,
    id text not null,
    data text not null,
    created_at timestamptz not null default now(),
    primary key (project_id, id)
);
create table response_contents (
    response_id text not null references responses (id) on delete cascade,
    project_id text not null,
    content_id text not null,
    primary key (response_id, content_id),
    foreign key (project_id, content_id) references contents (project_id, id)
);
create index response_contents_project_id_content_id_idx on response_contents (project_id, content_id);
create table released_contents (
    id bigint generated always as identity primary key,
    project_id text not null,
    content_id text not null
);
create table idempotency_keys (
    project_id text not null,
    key text not null,
    request_hash bytea not null,
    response_id text not null,
    created_at timestamptz not null default now(),
    primary key (project_id, key)
);
create index idempotency_keys_created_at_idx on idempotency_keys (created_at);
"""

WORKER_TABLES = """
create table workers (
    id text primary key,
    hostname text not null,
    pid integer not null,
    lanes text[] not null,
    slots integer not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
create table fair_shares (
    tier text not null,
    project_id text not null,
    charged double precision not null,
    had_at timestamptz not null,
    primary key (tier, project_id)
) with (fillfactor = 50);
create table circuits (
    model text primary key,
    failures integer not null default 1,
    open_until timestamptz not null,
    probe text,
    cause text not null,
    error_code text
);
"""

# Prevents a bug or a manual UPDATE from ending a response twice, or from applying the write of an old attempt.
RESPONSES_GUARD = """
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

# Records contents that lost a reference, so that the sweeper can delete contents without references.
RELEASED_CONTENTS_TRIGGER = """
create function response_contents_released() returns trigger language plpgsql as $$
begin
    insert into released_contents (project_id, content_id) values (old.project_id, old.content_id);
    return null;
end $$;
create trigger response_contents_released after delete on response_contents
    for each row execute function response_contents_released();
"""


def upgrade() -> None:
    for statements in (PROJECT_TABLES, RESPONSE_TABLES, WORKER_TABLES, RESPONSES_GUARD, RELEASED_CONTENTS_TRIGGER):
        op.execute(statements)


def downgrade() -> None:
    op.execute("drop table circuits, fair_shares, workers, idempotency_keys, response_contents, released_contents")
    op.execute("drop table contents, items, attempts, response_events, responses")
    op.execute("drop table usage_ledger, prompt_versions, prompts, audit_log, api_key_projects, api_keys, projects")
    op.execute("drop function responses_guard(), response_contents_released()")

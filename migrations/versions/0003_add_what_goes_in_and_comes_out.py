"""Add what goes in and comes out: large parts, prompts, circuits of model servers, truncations, where from.

Lock: attempts, response_events and responses, for as long as adding a column takes; responses also against writes
while the indexes are made, which reads the whole table twice. Deploy: before the code that reads them. Size: seconds for
millions of responses.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

UP = """
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
create function response_contents_released() returns trigger language plpgsql as $$
begin
    insert into released_contents (project_id, content_id) values (old.project_id, old.content_id);
    return null;
end $$;
create trigger response_contents_released after delete on response_contents
    for each row execute function response_contents_released();
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
create table circuits (
    model text primary key,
    failures integer not null default 1,
    open_until timestamptz not null,
    probe text,
    cause text not null,
    error_code text
);
alter table attempts add column dropped text[];
alter table response_events add column tokens integer not null default 0;
alter table responses add column requeued_from text;
alter table responses add column events_n integer;
create index responses_unpruned_idx on responses (finished_at) where finished_at is not null and events_n is null;
create index responses_requeued_from_idx on responses (requeued_from) where requeued_from is not null;
"""

DOWN = """
drop index responses_requeued_from_idx, responses_unpruned_idx;
alter table responses drop column events_n;
alter table responses drop column requeued_from;
alter table response_events drop column tokens;
alter table attempts drop column dropped;
drop table circuits, prompt_versions, prompts, response_contents, released_contents, contents;
drop function response_contents_released();
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)

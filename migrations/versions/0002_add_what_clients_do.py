"""Add what clients do with responses: follow, chain, refer, list, repeat.

Lock: responses, for as long as adding columns with constant defaults takes. Deploy: before the code that
reads them. Size: two indexes over all responses.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

UP = """
alter table responses
    add column stored boolean not null default true,
    add column followed_until timestamptz,
    add column metadata jsonb not null default '{}';
create index responses_followed_until_idx on responses (followed_until)
    where followed_until is not null and finished_at is null;
create index responses_unstored_idx on responses (finished_at) where not stored;
create index responses_listed_idx on responses (project_id, created_at, id) where stored;
create index responses_metadata_idx on responses using gin (metadata jsonb_path_ops);
create table items (
    project_id text not null,
    id text not null,
    response_id text not null references responses (id) on delete cascade,
    primary key (project_id, id, response_id)
);
create index items_response_id_idx on items (response_id);
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

DOWN = """
drop table idempotency_keys, items;
alter table responses drop column metadata, drop column followed_until, drop column stored;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)

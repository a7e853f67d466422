"""Add rights to keys that have none, the further projects of a key, and the audit log.

Lock: api_keys, for as long as its few rows take. Deploy: before the code that reads them. Size: keys are few.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# Keys were made to read, write and cancel before there were words for it.
UP = """
update api_keys set rights = array(
    select distinct one from unnest(rights || array['read', 'write', 'cancel']) as one order by one);
alter table api_keys add column name text;
alter table api_keys add column rotated_at timestamptz;
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
"""

DOWN = """
drop table audit_log, api_key_projects;
alter table api_keys drop column rotated_at;
alter table api_keys drop column name;
update api_keys set rights = array_remove(array_remove(array_remove(array_remove(
    rights, 'read'), 'write'), 'cancel'), 'admin');
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)

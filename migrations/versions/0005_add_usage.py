"""Add what responses cost: whose key made them, what they reserved, the usage ledger, more of attempts' usage.

Lock: attempts and responses, for as long as adding a column takes; responses also against writes while the index is
made, which reads the whole table. Deploy: before the code that reads them. Size: seconds for millions of responses.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
alter table responses add column key_id text;
alter table responses add column reserved_requests integer not null default 0;
alter table responses add column reserved_tokens bigint not null default 0;
create index responses_unfinished_idx on responses (project_id, model, created_at) where finished_at is null;
alter table attempts add column cached_tokens bigint;
alter table attempts add column reasoning_tokens bigint;
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

DOWN = """
drop table usage_ledger;
alter table attempts drop column reasoning_tokens;
alter table attempts drop column cached_tokens;
drop index responses_unfinished_idx;
alter table responses drop column reserved_tokens;
alter table responses drop column reserved_requests;
alter table responses drop column key_id;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)

"""Add turns of tiers and projects, an order by deadline for flex responses, and who occupies slots to its index.

Lock: responses, against writes while the indexes are made, which reads the whole table twice. Deploy: before the code that
reads them. Size: seconds for millions of responses.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
create table turns (
    tier text not null,
    project_id text not null,
    charged double precision not null,
    had_at timestamptz not null,
    primary key (tier, project_id)
) with (fillfactor = 50);
create index responses_due_idx on responses (lane, project_id, model, background, queued_until)
    where status = 'queued' and dispatched_at is null and tier = 'flex';
drop index responses_busy_idx;
create index responses_busy_idx on responses (lane, tier, project_id, model) include (worker_id)
    where status = 'in_progress' or (status = 'queued' and dispatched_at is not null);
"""
DOWN = """
drop index responses_busy_idx;
create index responses_busy_idx on responses (lane, tier, project_id, model)
    where status = 'in_progress' or (status = 'queued' and dispatched_at is not null);
drop index responses_due_idx;
drop table turns;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)

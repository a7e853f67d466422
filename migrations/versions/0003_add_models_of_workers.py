"""Add the column `workers.models`: the models that each worker knows.

Lock: `workers`, for an instant: the column is nullable and has no default. Deploy: before the code that writes the
column. Programs of revision 0002 run on this schema and leave the column null, which means that the worker does not
publish its models. Size: one row per worker.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("alter table workers add column models jsonb")


def downgrade() -> None:
    op.execute("alter table workers drop column models")

"""Record which programs can run on the schema.

From this revision on, a program runs on the schema of a later revision if that revision records the program's own
revision, or an older one, in `oldest_program`. Programs of revision 0001 accept no other revision.

Lock: none (a new table). Deploy: before the code that reads the table. Size: one row.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("create table schema_range (oldest_program text not null)")
    op.execute("insert into schema_range (oldest_program) values ('0002')")


def downgrade() -> None:
    op.execute("drop table schema_range")

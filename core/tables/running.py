"""Who runs responses, whose turn it is, and which models can be asked."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from core.tables.base import INSTANT, NOW, metadata

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("lanes", ARRAY(sa.Text), nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("started_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("seen_at", INSTANT, nullable=False, server_default=NOW),
)

# Who had a turn, for as long as it matters who is next: few slots could not be shared by what runs alone.
turns = sa.Table(
    "turns",
    metadata,
    sa.Column("tier", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, primary_key=True),
    # The greatest of a tier: what its turns came to until then, each one divided by its weight.
    sa.Column("charged", sa.Double, nullable=False),
    sa.Column("had_at", INSTANT, nullable=False),
    postgresql_with={"fillfactor": "50"},
)


# Models whose servers were found away: nothing is rung for them before `open_until`, then one response at a time.
circuits = sa.Table(
    "circuits",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False, server_default="1"),  # openings in a row
    sa.Column("open_until", INSTANT, nullable=False),
    sa.Column("probe", sa.Text),  # the response that tries, as long as it is rung or runs
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
)

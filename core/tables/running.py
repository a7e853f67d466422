"""Tables of workers, fair share and circuits, and the range of programs that run on the schema."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.tables.base import INSTANT, NOW, metadata

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("lanes", ARRAY(sa.Text), nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    # The models that the worker knows, each with its `concurrency` or null; null if the worker does not publish them.
    sa.Column("models", JSONB),
    sa.Column("started_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("seen_at", INSTANT, nullable=False, server_default=NOW),
)

# Service records: the last turn of each tier and project, as long as it affects the choice of the next turn. A count
# of running responses is not sufficient to share few slots fairly.
fair_shares = sa.Table(
    "fair_shares",
    metadata,
    sa.Column("tier", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, primary_key=True),
    # Sum of 1 / weight over the tier's turns up to this one; the greatest value of a tier is its current sum.
    sa.Column("charged", sa.Double, nullable=False),
    sa.Column("had_at", INSTANT, nullable=False),
    postgresql_with={"fillfactor": "50"},
)


# Models whose servers are all unavailable: no response is dispatched before `open_until`, then one response at a time.
circuits = sa.Table(
    "circuits",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column(
        "failures", sa.Integer, nullable=False, server_default="1"
    ),  # number of openings since the circuit was last closed
    sa.Column("open_until", INSTANT, nullable=False),
    sa.Column("probe", sa.Text),  # the response that probes the servers while it is dispatched or running
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
)

# One row: the oldest revision whose programs run on this schema.
schema_range = sa.Table(
    "schema_range",
    metadata,
    sa.Column("oldest_program", sa.Text, nullable=False),
)

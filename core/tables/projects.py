"""Projects, their keys, prompts and usage, and what was done to them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.tables.base import INSTANT, NOW, metadata

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),  # SHA-256 of the key
    sa.Column("hint", sa.Text, nullable=False),  # its last characters, to tell keys apart
    sa.Column("rights", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("revoked_at", INSTANT),
    sa.Column("name", sa.Text),  # whatever its maker calls it
    sa.Column("rotated_at", INSTANT),
)

# The projects a key may use besides its own.
api_key_projects = sa.Table(
    "api_key_projects",
    metadata,
    sa.Column("key_id", sa.Text, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), primary_key=True, index=True),
)

# What keys and operators did; never a secret, never a content.
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", INSTANT, nullable=False, server_default=NOW, index=True),
    sa.Column("actor", sa.Text, nullable=False),  # a key's ID, or `operator`
    sa.Column("os_user", sa.Text),  # of an operator
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id")),
    sa.Column("request_id", sa.Text),  # of a key's request
    sa.Column("details", JSONB, nullable=False, server_default="{}"),
    sa.Index(None, "project_id", "at"),
)

prompts = sa.Table(
    "prompts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("default_version", sa.Integer, nullable=False),  # what is used where none is asked for
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.UniqueConstraint("project_id", "name"),
)

prompt_versions = sa.Table(
    "prompt_versions",
    metadata,
    sa.Column("prompt_id", sa.Text, sa.ForeignKey("prompts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("template", sa.Text, nullable=False),  # JSON, validated
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
)


# What each response that ended used, over all its attempts: written with its end, and kept when it is deleted.
usage_ledger = sa.Table(
    "usage_ledger",
    metadata,
    sa.Column("response_id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created_at", INSTANT, nullable=False),
    sa.Column("ended_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("day", sa.Date, nullable=False),  # of the end, in UTC
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
    sa.Column("usage_estimated", sa.Boolean, nullable=False),  # in part at least
    sa.Column("reserved_requests", sa.Integer, nullable=False),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
    # What its project's credits were told so far; null where they have nothing to do with it.
    sa.Column("charged_tokens", sa.BigInteger),
    sa.Index(None, "project_id", "model", "created_at"),
    sa.Index(None, "day", postgresql_using="brin"),
    sa.Index(
        "usage_ledger_unsettled_idx",
        "response_id",
        postgresql_where=sa.text("charged_tokens <> input_tokens + output_tokens"),
    ),
)

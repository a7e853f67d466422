"""Tables of projects, API keys, prompts, usage and the audit log."""

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
    sa.Column("hint", sa.Text, nullable=False),  # the last characters of the key, to distinguish keys
    sa.Column("rights", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("revoked_at", INSTANT),
    sa.Column("name", sa.Text),  # chosen by the creator
    sa.Column("rotated_at", INSTANT),
)

# The projects that a key may use in addition to its own.
api_key_projects = sa.Table(
    "api_key_projects",
    metadata,
    sa.Column("key_id", sa.Text, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), primary_key=True, index=True),
)

# Actions of keys and operators. The table never contains secrets or the content of requests and responses.
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", INSTANT, nullable=False, server_default=NOW, index=True),
    sa.Column("actor", sa.Text, nullable=False),  # a key's ID, or `operator`
    sa.Column("os_user", sa.Text),  # for actions of an operator
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id")),
    sa.Column("request_id", sa.Text),  # for actions of a key
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
    sa.Column("default_version", sa.Integer, nullable=False),  # used if a request does not name a version
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.UniqueConstraint("project_id", "name"),
)

prompt_versions = sa.Table(
    "prompt_versions",
    metadata,
    sa.Column("prompt_id", sa.Text, sa.ForeignKey("prompts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("template", sa.Text, nullable=False),  # JSON
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
)

# Usage of each ended response over all its attempts. A row is inserted in the transaction that ends the response, and
# remains when the response is deleted.
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
    sa.Column("day", sa.Date, nullable=False),  # UTC date of the end
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
    sa.Column("usage_estimated", sa.Boolean, nullable=False),  # whether any part of the usage is estimated
    sa.Column("reserved_requests", sa.Integer, nullable=False),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
    # Tokens charged to the project's credits so far; null if none were reserved.
    sa.Column("charged_tokens", sa.BigInteger),
    sa.Index(None, "project_id", "model", "created_at"),
    sa.Index(None, "day", postgresql_using="brin"),
    sa.Index(
        "usage_ledger_unsettled_idx",
        "response_id",
        postgresql_where=sa.text("charged_tokens <> input_tokens + output_tokens"),
    ),
)

"""Responses, their events and attempts, and what they are made of."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.tables.base import INSTANT, NOW, metadata
from core.wire.status import Status

_statuses = ", ".join(f"'{status}'" for status in Status)

responses = sa.Table(
    "responses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # also the Celery task ID
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("background", sa.Boolean, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # the fence; only grows
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # lost leases: the budget
    sa.Column("waits", sa.Integer, nullable=False, server_default="0"),  # hand-backs for the model server
    sa.Column("worker_id", sa.Text),
    sa.Column("lease_until", INSTANT),
    sa.Column("run_s", sa.Double, nullable=False),  # clock of one run
    sa.Column("run_until", INSTANT),  # end of the run under way
    sa.Column("queued_until", INSTANT, nullable=False),  # clock of the wait for a worker
    sa.Column("ends_by", INSTANT, nullable=False),  # clock of the whole
    sa.Column("available_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("dispatched_at", INSTANT),  # null while queued: waiting in Postgres for its turn
    sa.Column("stored", sa.Boolean, nullable=False, server_default="true"),  # false: never found by its ID
    sa.Column("followed_until", INSTANT),  # foreground: somebody waits for it until then, at least
    sa.Column("metadata", JSONB, nullable=False, server_default="{}"),  # the document's, to list by
    sa.Column("request", sa.Text, nullable=False),  # JSON, validated and with defaults
    sa.Column("document", sa.Text, nullable=False),  # JSON a poll returns; while running, what it starts from
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("started_at", INSTANT),
    sa.Column("finished_at", INSTANT),
    sa.Column("events_n", sa.Integer),  # how many events its log had, once they were deleted
    sa.Column("key_id", sa.Text),  # whose it is; the key may be revoked
    # Of the project's credits, when it was created; nothing where its tier takes none or nothing is limited.
    sa.Column("reserved_requests", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("requeued_from", sa.Text),  # the ended response an operator made this one from; it may be gone
    sa.CheckConstraint(f"status in ({_statuses})", name="status"),
    sa.CheckConstraint(
        "(finished_at is not null) = (status in ('completed', 'incomplete', 'failed', 'cancelled'))",
        name="finished",
    ),
    sa.CheckConstraint(
        "(status = 'in_progress') = (lease_until is not null)"
        " and (lease_until is null) = (run_until is null) and (lease_until is null) = (worker_id is null)",
        name="leased",
    ),
    # Waiting for dispatch, in the order dispatch walks them.
    sa.Index(
        "responses_waiting_idx",
        "lane",
        "tier",
        "project_id",
        "model",
        "background",
        "available_at",
        postgresql_where=sa.text("status = 'queued' and dispatched_at is null"),
    ),
    # Occupying a slot or about to: what dispatch counts.
    sa.Index(
        "responses_busy_idx",
        "lane",
        "tier",
        "project_id",
        "model",
        postgresql_include=["worker_id"],
        postgresql_where=sa.text("status = 'in_progress' or (status = 'queued' and dispatched_at is not null)"),
    ),
    # Of `flex`, dispatch takes what is due first.
    sa.Index(
        "responses_due_idx",
        "lane",
        "project_id",
        "model",
        "background",
        "queued_until",
        postgresql_where=sa.text("status = 'queued' and dispatched_at is null and tier = 'flex'"),
    ),
    # No index on lease_until or dispatched_at's value: renewals stay heap-only updates.
    sa.Index("responses_running_idx", "id", postgresql_where=sa.text("status = 'in_progress'")),
    sa.Index("responses_rung_idx", "id", postgresql_where=sa.text("status = 'queued' and dispatched_at is not null")),
    # The odd condition keeps the planner from taking this index for anything but the clock's own query: with
    # statistics of an idle time all partial indexes look equally empty, and this one is the worst for dispatch.
    sa.Index(
        "responses_queued_until_idx",
        "queued_until",
        postgresql_where=sa.text("status = 'queued' and queued_until > '-infinity'"),
    ),
    sa.Index(
        "responses_followed_until_idx",
        "followed_until",
        postgresql_where=sa.text("followed_until is not null and finished_at is null"),
    ),
    # What admission counts: a project's responses that wait, and its credits of the last minute.
    sa.Index(
        "responses_unfinished_idx",
        "project_id",
        "model",
        "created_at",
        postgresql_where=sa.text("finished_at is null"),
    ),
    sa.Index(
        "responses_unpruned_idx",
        "finished_at",
        postgresql_where=sa.text("finished_at is not null and events_n is null"),
    ),
    sa.Index("responses_requeued_from_idx", "requeued_from", postgresql_where=sa.text("requeued_from is not null")),
    sa.Index("responses_unstored_idx", "finished_at", postgresql_where=sa.text("not stored")),
    sa.Index("responses_listed_idx", "project_id", "created_at", "id", postgresql_where=sa.text("stored")),
    sa.Index(
        "responses_metadata_idx",
        "metadata",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    ),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.01",
    },
)

response_events = sa.Table(
    "response_events",
    metadata,
    sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("first_seq", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # n events, one JSON object a line
    sa.Column("tokens", sa.Integer, nullable=False, server_default="0"),  # of output in them, about
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("worker_id", sa.Text, nullable=False),
    sa.Column("started_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("ended_at", INSTANT),
    sa.Column("outcome", sa.Text),  # completed, incomplete, failed, cancelled, lost, handed_back, waited
    sa.Column("cause", sa.Text),  # precise, for operators
    sa.Column("error_code", sa.Text),  # the wire's, should this cause become the response's end
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),  # of the input
    sa.Column("reasoning_tokens", sa.BigInteger),  # of the output
    sa.Column("usage_estimated", sa.Boolean),
    sa.Column("dropped", ARRAY(sa.Text)),  # IDs of the items a truncation left out, oldest first
)

# Where an item is found that a request refers to by its ID.
items = sa.Table(
    "items",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    # A client that sends its history along makes an item one of several responses.
    sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True, index=True),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("response_id", sa.Text, nullable=False),
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW, index=True),
)

# Large parts of requests, apart from the rows that are updated; the same content is kept once a project.
contents = sa.Table(
    "contents",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # SHA-256 of it, in hex
    sa.Column("data", sa.Text, nullable=False),  # as it stood in the request
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
)

response_contents = sa.Table(
    "response_contents",
    metadata,
    sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("content_id", sa.Text, primary_key=True),
    sa.ForeignKeyConstraint(["project_id", "content_id"], ["contents.project_id", "contents.id"]),
    sa.Index(None, "project_id", "content_id"),
)

# Contents that a response let go of when it was deleted, listed by a trigger: the sweeper looks whether any is left.
released_contents = sa.Table(
    "released_contents",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("content_id", sa.Text, nullable=False),
)

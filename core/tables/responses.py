"""Tables of responses, their events, attempts, items and contents."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.tables.base import INSTANT, NOW, metadata
from core.tables.conditions import has_status, is_busy, is_dispatched, is_waiting
from core.wire.status import TERMINAL, Status

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
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # the fence; only increases
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # lost leases; limited by max_failures
    sa.Column(
        "waits", sa.Integer, nullable=False, server_default="0"
    ),  # how often the response was put back in the queue to wait for its model server
    sa.Column("worker_id", sa.Text),
    sa.Column("lease_until", INSTANT),
    sa.Column("run_s", sa.Double, nullable=False),  # time limit of one run
    sa.Column("run_until", INSTANT),  # deadline of the current run
    sa.Column("queued_until", INSTANT, nullable=False),  # deadline of the wait for a worker
    sa.Column("ends_by", INSTANT, nullable=False),  # deadline of the response, over all runs and waits
    sa.Column("available_at", INSTANT, nullable=False, server_default=NOW),  # not dispatched before this time
    sa.Column("dispatched_at", INSTANT),  # null in a queued response that waits in Postgres for dispatch
    sa.Column("stored", sa.Boolean, nullable=False, server_default="true"),  # false: cannot be retrieved by its ID
    sa.Column("followed_until", INSTANT),  # foreground: if not renewed by then, no client waits any more
    sa.Column("metadata", JSONB, nullable=False, server_default="{}"),  # a copy from the document, for filters of lists
    sa.Column("request", sa.Text, nullable=False),  # JSON, validated and with defaults
    sa.Column(
        "document", sa.Text, nullable=False
    ),  # JSON of the response object; polls of a running response add the output
    sa.Column("created_at", INSTANT, nullable=False, server_default=NOW),
    sa.Column("started_at", INSTANT),
    sa.Column("finished_at", INSTANT),
    sa.Column("events_n", sa.Integer),  # number of events in the log; set when the events are deleted
    sa.Column("key_id", sa.Text),  # the API key of the create request; it may have been revoked
    # Credits reserved at creation; 0 if the response's tier uses no credits or the project has no limit.
    sa.Column("reserved_requests", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("requeued_from", sa.Text),  # the ended response that an operator requeued; it may have been deleted
    sa.CheckConstraint(has_status(*Status), name="status"),
    sa.CheckConstraint(
        f"(finished_at is not null) = ({has_status(*sorted(TERMINAL))})",
        name="finished",
    ),
    sa.CheckConstraint(
        f"({has_status(Status.IN_PROGRESS)}) = (lease_until is not null)"
        " and (lease_until is null) = (run_until is null) and (lease_until is null) = (worker_id is null)",
        name="leased",
    ),
    # Responses that wait for dispatch, in the order in which dispatch reads them.
    sa.Index(
        "responses_waiting_idx",
        "lane",
        "tier",
        "project_id",
        "model",
        "background",
        "available_at",
        postgresql_where=sa.text(is_waiting()),
    ),
    # Running and dispatched responses, which occupy slots; dispatch counts them.
    sa.Index(
        "responses_busy_idx",
        "lane",
        "tier",
        "project_id",
        "model",
        postgresql_include=["worker_id"],
        postgresql_where=sa.text(is_busy()),
    ),
    # For tier `flex`, dispatch takes the earliest deadline first.
    sa.Index(
        "responses_due_idx",
        "lane",
        "project_id",
        "model",
        "background",
        "queued_until",
        postgresql_where=sa.text(f"{is_waiting()} and tier = 'flex'"),
    ),
    # No index contains the value of lease_until or dispatched_at, so that renewals remain heap-only (HOT) updates.
    sa.Index("responses_running_idx", "id", postgresql_where=sa.text(has_status(Status.IN_PROGRESS))),
    sa.Index("responses_dispatched_idx", "id", postgresql_where=sa.text(is_dispatched())),
    # The condition on queued_until is always true. It reserves this index for the query for expired waits, which has
    # the same condition: with statistics from an idle period all partial indexes appear equally empty, and the planner
    # might choose this one, the slowest for dispatch.
    sa.Index(
        "responses_queued_until_idx",
        "queued_until",
        postgresql_where=sa.text(f"{has_status(Status.QUEUED)} and queued_until > '-infinity'"),
    ),
    sa.Index(
        "responses_followed_until_idx",
        "followed_until",
        postgresql_where=sa.text("followed_until is not null and finished_at is null"),
    ),
    # For admission, which counts a project's waiting responses and its credits of the last minute.
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
    sa.Column("data", sa.Text, nullable=False),  # n events, one JSON object per line
    sa.Column("tokens", sa.Integer, nullable=False, server_default="0"),  # estimated output tokens in these events
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
    sa.Column("cause", sa.Text),  # the precise cause, for operators
    sa.Column("error_code", sa.Text),  # error code for the client, if this cause ends the response
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),  # a part of the input tokens
    sa.Column("reasoning_tokens", sa.BigInteger),  # a part of the output tokens
    sa.Column("usage_estimated", sa.Boolean),
    sa.Column("dropped", ARRAY(sa.Text)),  # IDs of the items dropped by truncation, oldest first
)

# The responses that contain an item, for requests that refer to items by ID.
items = sa.Table(
    "items",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    # A client that resends its history makes an item part of several responses.
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

# Large parts of requests, in a separate table because updates of `responses` would copy them. Each content is stored
# once per project.
contents = sa.Table(
    "contents",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # SHA-256 of the content, in hex
    sa.Column("data", sa.Text, nullable=False),  # as in the request, or a piece of the JSON text of a large field
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

# Contents of deleted responses, inserted by a trigger. The sweeper deletes those to which no other response refers.
released_contents = sa.Table(
    "released_contents",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("content_id", sa.Text, nullable=False),
)

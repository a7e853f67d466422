"""SQL of the operators' operations: show, list and lock responses of all projects, and list their attempts."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from core.database import Connection
from core.tables.conditions import status_literal
from core.tables.projects import projects
from core.tables.responses import attempts, responses
from core.tables.statement import Statement
from core.wire.status import Status


@dataclass(frozen=True)
class ResponseDetails:
    """A response as shown to operators."""

    id: str
    project: str
    status: str
    background: bool
    model: str
    tier: str
    lane: str
    attempt: int
    failures: int
    waits: int
    worker_id: str | None
    error: str | None  # error code and message of the final object
    requeued_from: str | None
    requeued_as: list[str]
    dispatched: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    available_at: datetime
    queued_until: datetime
    run_until: datetime | None
    ends_by: datetime


@dataclass(frozen=True)
class AttemptDetails:
    """One attempt of a response, for operators."""

    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    cause: str | None
    input_tokens: int | None
    output_tokens: int | None
    dropped: list[str] | None  # IDs of the items that truncation dropped, oldest first


@dataclass(frozen=True)
class Source:
    """The locked row of a response to requeue."""

    id: str
    project: str
    project_id: str
    key_id: str | None
    status: str
    model: str
    lane: str
    tier: str
    stored: bool
    metadata: dict[str, str]
    request: str
    document: str
    requeued_ids: list[str]  # IDs of its requeued copies that are queued, in progress or completed


_copies = responses.alias("copies")
_copy_ids = sa.select(_copies.c.id).where(_copies.c.requeued_from == responses.c.id)
_error = sa.cast(responses.c.document, sa.JSON)["error"]
_SELECT = sa.select(
    responses.c.id,
    projects.c.name.label("project"),
    responses.c.status,
    responses.c.background,
    responses.c.model,
    responses.c.tier,
    responses.c.lane,
    responses.c.attempt,
    responses.c.failures,
    responses.c.waits,
    responses.c.worker_id,
    sa.case(
        (
            responses.c.status == status_literal(Status.FAILED),
            _error["code"].as_string() + ": " + _error["message"].as_string(),
        ),
    ).label("error"),
    responses.c.requeued_from,
    sa.func.array(_copy_ids.order_by(_copies.c.created_at).scalar_subquery(), type_=ARRAY(sa.Text)).label(
        "requeued_as"
    ),
    responses.c.dispatched_at.is_not(None).label("dispatched"),
    responses.c.created_at,
    responses.c.started_at,
    responses.c.finished_at,
    responses.c.available_at,
    responses.c.queued_until,
    responses.c.run_until,
    responses.c.ends_by,
).join_from(responses, projects, projects.c.id == responses.c.project_id)
_by_id = responses.c.id == sa.bindparam("id")
_SHOW = Statement(_SELECT.where(_by_id))
_LOCK = Statement(
    sa.select(sa.literal_column("1")).select_from(responses).where(_by_id).with_for_update(key_share=True)
)
_LIST_ATTEMPTS = Statement(
    sa.select(
        attempts.c.attempt,
        attempts.c.worker_id,
        attempts.c.started_at,
        attempts.c.ended_at,
        attempts.c.outcome,
        attempts.c.cause,
        attempts.c.input_tokens,
        attempts.c.output_tokens,
        attempts.c.dropped,
    )
    .where(attempts.c.response_id == sa.bindparam("id"))
    .order_by(attempts.c.attempt)
)
_blocks_requeue = _copies.c.status.in_(
    [status_literal(status) for status in (Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED)]
)
_SOURCE = Statement(
    sa.select(
        responses.c.id,
        projects.c.name.label("project"),
        responses.c.project_id,
        responses.c.key_id,
        responses.c.status,
        responses.c.model,
        responses.c.lane,
        responses.c.tier,
        responses.c.stored,
        responses.c.metadata,
        responses.c.request,
        responses.c.document,
        sa.func.array(_copy_ids.where(_blocks_requeue).scalar_subquery(), type_=ARRAY(sa.Text)).label("requeued_ids"),
    )
    .join_from(responses, projects, projects.c.id == responses.c.project_id)
    .where(_by_id)
)


@cache
def _newest_statement(filters: frozenset[str]) -> Statement:
    """Return the statement that lists the newest responses that match `filters`."""
    conditions = {
        "project": projects.c.name == sa.bindparam("project"),
        "status": responses.c.status == sa.bindparam("status"),
        "model": responses.c.model == sa.bindparam("model"),
    }
    return Statement(
        _SELECT.where(*(conditions[name] for name in sorted(filters)))
        .order_by(responses.c.created_at.desc(), responses.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.BigInteger))
    )


def show(connection: Connection, response_id: str) -> ResponseDetails | None:
    """Find a response of any project; None if it does not exist."""
    return _SHOW.fetch_one(connection, ResponseDetails, id=response_id)


def list_newest(
    connection: Connection, *, project: str | None, status: str | None, model: str | None, limit: int
) -> list[ResponseDetails]:
    """List at most `limit` responses, newest first."""
    values = {"project": project, "status": status, "model": model}
    filters = {name: value for name, value in values.items() if value is not None}
    return _newest_statement(frozenset(filters)).fetch_all(connection, ResponseDetails, limit=limit, **filters)


def list_attempts(connection: Connection, response_id: str) -> list[AttemptDetails]:
    """List all attempts to run a response, in order."""
    return _LIST_ATTEMPTS.fetch_all(connection, AttemptDetails, id=response_id)


def lock_source(connection: Connection, response_id: str) -> Source | None:
    """Lock a response to requeue until the transaction ends; None if it does not exist."""
    _LOCK.execute(connection, id=response_id)
    # A separate statement, because its snapshot must include a response inserted by the previous holder of the lock.
    return _SOURCE.fetch_one(connection, Source, id=response_id)

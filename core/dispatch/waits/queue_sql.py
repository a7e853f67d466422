"""SQL that counts waiting, dispatched and running responses by group, and reads a queued response."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from core.database import Connection
from core.dispatch.situation import CandidateGroup
from core.dispatch.waits.reasons import QueuedResponse
from core.tables.conditions import status_literal
from core.tables.projects import projects
from core.tables.responses import responses
from core.tables.statement import Statement
from core.wire.status import Status


@dataclass(frozen=True)
class ResponseGroup:
    """Counts of the responses of one lane, tier, project and model that have not ended.

    Args:
        waiting: number of responses that wait in Postgres to be dispatched, including those of `later`.
        later: number of waiting responses that are not due yet, because their delay before another attempt has not
            passed.
        due_in_s: seconds until the first waiting response may be dispatched; negative if it may be dispatched now.
        dispatched: number of dispatched responses that no worker has claimed yet.
        oldest_s: age in seconds of the oldest waiting or dispatched response; None if there is none.
    """

    lane: str
    tier: str
    project: str
    project_id: str
    model: str
    waiting: int
    later: int
    due_in_s: float | None
    dispatched: int
    running: int
    oldest_s: float | None


@dataclass(frozen=True)
class _ProjectName:
    id: str
    name: str


def _count(condition: sa.ColumnElement[bool]) -> sa.FunctionFilter[int]:
    return sa.func.count().filter(condition)


_queued = responses.c.status == status_literal(Status.QUEUED)
_waiting = _queued & responses.c.dispatched_at.is_(None)
_dispatched = _queued & responses.c.dispatched_at.is_not(None)
_running = responses.c.status == status_literal(Status.IN_PROGRESS)
_due_in = responses.c.available_at - sa.func.now()
_age = sa.func.now() - sa.func.min(responses.c.created_at).filter(_queued)
_keys = (responses.c.lane, responses.c.tier, responses.c.project_id, responses.c.model)
_counts = (
    sa.select(
        *_keys,
        _count(_waiting).label("waiting"),
        _count(_waiting & (responses.c.available_at > sa.func.now())).label("later"),
        sa.cast(sa.extract("epoch", sa.func.min(_due_in).filter(_waiting)), sa.Double).label("due_in_s"),
        _count(_dispatched).label("dispatched"),
        _count(_running).label("running"),
        sa.cast(sa.extract("epoch", _age), sa.Double).label("oldest_s"),
    )
    # The conditions of the partial indexes of waiting and busy responses.
    .where(_waiting | _running | _dispatched)
    .group_by(*_keys)
    .subquery("counts")
)
_LIST_GROUPS = Statement(
    sa.select(
        _counts.c.lane,
        _counts.c.tier,
        projects.c.name.label("project"),
        _counts.c.project_id,
        _counts.c.model,
        _counts.c.waiting,
        _counts.c.later,
        _counts.c.due_in_s,
        _counts.c.dispatched,
        _counts.c.running,
        _counts.c.oldest_s,
    )
    .join_from(_counts, projects, projects.c.id == _counts.c.project_id)
    .order_by(
        _counts.c.waiting.desc(),
        (_counts.c.running + _counts.c.dispatched).desc(),
        _counts.c.lane,
        _counts.c.tier,
        projects.c.name,
        _counts.c.model,
    )
)
_READ_QUEUED = Statement(
    sa.select(
        *_keys,
        sa.cast(sa.extract("epoch", _due_in), sa.Double).label("due_in_s"),
        responses.c.dispatched_at.is_not(None).label("is_dispatched"),
    ).where(_queued, responses.c.id == sa.bindparam("id"))
)
_READ_PROJECT_NAMES = Statement(
    sa.select(projects.c.id, projects.c.name).where(
        projects.c.id == sa.func.any(sa.bindparam("ids", type_=ARRAY(sa.Text)))
    )
)


def list_groups(connection: Connection) -> list[ResponseGroup]:
    """List all groups of responses that have not ended; the groups with the most waiting responses come first."""
    return _LIST_GROUPS.fetch_all(connection, ResponseGroup)


def read_queued(connection: Connection, response_id: str) -> QueuedResponse | None:
    """Read a queued response; None if it does not exist, is running or has ended."""
    row = _READ_QUEUED.fetch_row(connection, id=response_id)
    if row is None:
        return None
    *group, due_in_s, is_dispatched = row
    return QueuedResponse(CandidateGroup(*group), due_in_s, is_dispatched)


def read_project_names(connection: Connection, project_ids: Collection[str]) -> dict[str, str]:
    """Return the names of projects by ID."""
    rows = _READ_PROJECT_NAMES.fetch_all(connection, _ProjectName, ids=list(project_ids))
    return {row.id: row.name for row in rows}

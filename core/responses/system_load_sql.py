"""SQL that counts waiting, dispatched and running responses, and lists live workers, for operators."""

from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Connection
from core.tables.conditions import status_literal
from core.tables.projects import projects
from core.tables.responses import responses
from core.tables.running import workers
from core.tables.statement import Statement
from core.wire.status import Status


@dataclass(frozen=True)
class ResponseGroup:
    """Counts of the responses of one lane, tier, project and model that have not ended.

    Args:
        waiting: number of responses that wait in Postgres to be dispatched.
        later: number of waiting responses whose delay before another attempt has not passed yet.
        dispatched: number of dispatched responses that no worker has claimed yet.
        oldest_s: age in seconds of the oldest waiting or dispatched response; None if there is none.
    """

    lane: str
    tier: str
    project: str
    model: str
    waiting: int
    later: int
    dispatched: int
    running: int
    oldest_s: float | None


@dataclass(frozen=True)
class LiveWorker:
    """A live worker with its lanes, its number of slots and the number of responses that it runs."""

    id: str
    hostname: str
    pid: int
    lanes: list[str]
    slots: int
    running: int


def _count(condition: sa.ColumnElement[bool]) -> sa.FunctionFilter[int]:
    return sa.func.count().filter(condition)


_queued = responses.c.status == status_literal(Status.QUEUED)
_waiting = _queued & responses.c.dispatched_at.is_(None)
_dispatched = _queued & responses.c.dispatched_at.is_not(None)
_running = responses.c.status == status_literal(Status.IN_PROGRESS)
_age = sa.func.now() - sa.func.min(responses.c.created_at).filter(_queued)
_keys = (responses.c.lane, responses.c.tier, responses.c.project_id, responses.c.model)
_counts = (
    sa.select(
        *_keys,
        _count(_waiting).label("waiting"),
        _count(_waiting & (responses.c.available_at > sa.func.now())).label("later"),
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
        _counts.c.model,
        _counts.c.waiting,
        _counts.c.later,
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
_LIST_WORKERS = Statement(
    sa.select(
        workers.c.id,
        workers.c.hostname,
        workers.c.pid,
        workers.c.lanes,
        workers.c.slots,
        sa.select(sa.func.count())
        .select_from(responses)
        .where(_running, responses.c.worker_id == workers.c.id)
        .scalar_subquery()
        .label("running"),
    )
    .where(
        workers.c.seen_at
        > sa.func.now() - sa.bindparam("seen_s", type_=sa.Double) * sa.literal_column("interval '1 s'")
    )
    .order_by(workers.c.hostname, workers.c.id)
)


def list_groups(connection: Connection) -> list[ResponseGroup]:
    """List all groups of responses that have not ended; the groups with the most waiting responses come first."""
    return _LIST_GROUPS.fetch_all(connection, ResponseGroup)


def list_workers(connection: Connection, seen_s: float) -> list[LiveWorker]:
    """List the workers that refreshed their registration in the last `seen_s` seconds."""
    return _LIST_WORKERS.fetch_all(connection, LiveWorker, seen_s=seen_s)

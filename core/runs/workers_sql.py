"""SQL of the table `workers`: live workers, their lanes, models and slots.

Hand-written, because every worker runs it every few seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from core import jsonio
from core.database import Connection


@dataclass(frozen=True)
class Worker:
    """A worker process that serves lanes."""

    id: str
    hostname: str
    pid: int
    lanes: list[str]
    slots: int
    started_at: datetime
    seen_at: datetime


def register(
    connection: Connection,
    worker_id: str,
    *,
    hostname: str,
    pid: int,
    lanes: Sequence[str],
    slots: int,
    models: Mapping[str, int | None] | None,
) -> None:
    """Register a worker, or update `seen_at`, `slots` and `models` of its row."""
    connection.execute(
        "insert into workers (id, hostname, pid, lanes, slots, models) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (id) do update set seen_at = now(), slots = excluded.slots, models = excluded.models",
        (worker_id, hostname, pid, sorted(lanes), slots, None if models is None else jsonio.dumps(models)),
    )


def delete(connection: Connection, worker_id: str) -> None:
    """Delete the row of a worker that exits."""
    connection.execute("delete from workers where id = %s", (worker_id,))


def delete_unseen(connection: Connection, unseen_s: float) -> None:
    """Delete workers that were not seen for `unseen_s` seconds; locked rows are skipped."""
    connection.execute(
        "delete from workers where id in ("
        "select id from workers where seen_at < now() - %s * interval '1 s' for update skip locked)",
        (unseen_s,),
    )


def select_live(connection: Connection, seen_s: float) -> list[Worker]:
    """Return the workers that were seen in the last `seen_s` seconds."""
    with connection.cursor(row_factory=class_row(Worker)) as cursor:
        cursor.execute(
            "select id, hostname, pid, lanes, slots, started_at, seen_at from workers"
            " where seen_at > now() - %s * interval '1 s' order by id",
            (seen_s,),
        )
        return cursor.fetchall()

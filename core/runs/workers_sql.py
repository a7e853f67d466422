"""SQL of the table `workers`: live workers, their lanes, models and slots. Dispatch reads them in dispatch_sql.py.

Hand-written, because every worker runs it every few seconds.
"""

from collections.abc import Mapping, Sequence

from core import jsonio
from core.database import Connection
from core.tables import conditions


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


def is_live(connection: Connection, pid: int, *, worker_seen_s: float) -> bool:
    """Return whether a worker with this process ID, on any machine, was seen recently and accepts responses.

    Args:
        worker_seen_s: seconds for which a worker is considered live after it has updated its registration.
    """
    return (
        connection.execute(
            f"select 1 from workers where pid = %(pid)s and slots > 0 and {conditions.is_live()}",
            {"pid": pid, "worker_seen_s": worker_seen_s},
        ).fetchone()
        is not None
    )

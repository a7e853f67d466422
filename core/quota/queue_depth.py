"""Checks whether the queue of a project is full, with few counts, because a long queue takes long to count."""

import time
from dataclasses import dataclass

from core.database import Connection
from core.quota import admission_sql

# Fraction of the limit below which a count may be inexact, so that creates do not have to lock.
_EXACT_FROM = 0.5
# Below that fraction, each of up to this many API processes may admit its share of what is missing before it counts
# again.
_PROCESSES = 16
# Seconds for which a count is used.
_SEEN_S = 1.0
# Seconds for which a full queue is not counted again, so that rejected creates stay cheap.
_FULL_S = 0.1


@dataclass
class _Seen:
    """The last count of a queue by this process."""

    waiting: int
    until: float
    uncounted: int = 0  # number of creates that may still be admitted without a count


class QueueDepth:
    """Cached depths of the queues per project and model."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def full(self, connection: Connection, project_id: str, model: str, most: int) -> bool:
        """Whether `most` or more responses are waiting.

        Near the limit the answer is exact, and a lock keeps it valid until the end of the transaction.
        """
        key, now = (project_id, model), time.monotonic()
        seen = self._seen.get(key)
        if seen is not None and now < seen.until:
            if seen.waiting >= most:
                return True
            if seen.uncounted > 0:
                seen.uncounted -= 1
                return False
        near = seen is not None and now < seen.until and seen.waiting >= most * _EXACT_FROM
        waiting = 0 if near else admission_sql.waiting(connection, project_id, model, most)
        if near or most * _EXACT_FROM <= waiting < most:
            admission_sql.lock(connection, f"queue:{project_id}:{model}")
            waiting = admission_sql.waiting(connection, project_id, model, most)
        uncounted = max(0, int(most * _EXACT_FROM - waiting) // _PROCESSES)
        self._seen[key] = _Seen(waiting, now + (_FULL_S if waiting >= most else _SEEN_S), uncounted)
        return waiting >= most

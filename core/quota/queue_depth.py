"""Checks whether the queue of a project is full. Counts are cached, because counting a long queue takes time."""

import time
from dataclasses import dataclass

from core.database import Connection
from core.quota import admission_sql

# A queue is near its limit from this fraction of the limit on. Counts must then be exact, which requires a lock.
_NEAR_LIMIT_FRACTION = 0.5
# Assumed maximum number of API processes. Without another count, each process admits 1 / _MAX_PROCESSES of the create
# requests that still fit before the queue is near its limit.
_MAX_PROCESSES = 16
# Time for which a count is used.
_COUNT_TTL_S = 1.0
# Time for which a full queue is not counted again, so that rejections stay cheap.
_FULL_TTL_S = 0.1


@dataclass
class _Count:
    """The last count of a queue by this process."""

    depth: int
    valid_until: float
    uncounted_admissions: int = 0  # number of create requests that may still be admitted without another count


class QueueDepth:
    """Cached depths of the queues per project and model."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Count] = {}

    def is_full(self, connection: Connection, project_id: str, model: str, limit: int) -> bool:
        """Whether at least `limit` responses are waiting.

        Near the limit, the result False is exact, and a lock keeps it valid until the end of the transaction.
        """
        key, now = (project_id, model), time.monotonic()
        near_limit_depth = limit * _NEAR_LIMIT_FRACTION
        is_near_limit = False
        count = self._counts.get(key)
        if count is not None and now < count.valid_until:
            if count.depth >= limit:
                return True
            if count.uncounted_admissions > 0:
                count.uncounted_admissions -= 1
                return False
            is_near_limit = count.depth >= near_limit_depth
        depth = 0
        if not is_near_limit:
            depth = admission_sql.count_waiting(connection, project_id, model, limit)
        if is_near_limit or near_limit_depth <= depth < limit:
            admission_sql.lock(connection, f"queue:{project_id}:{model}")
            depth = admission_sql.count_waiting(connection, project_id, model, limit)
        is_full = depth >= limit
        uncounted_admissions = max(0, int(near_limit_depth - depth) // _MAX_PROCESSES)
        self._counts[key] = _Count(depth, now + (_FULL_TTL_S if is_full else _COUNT_TTL_S), uncounted_admissions)
        return is_full
